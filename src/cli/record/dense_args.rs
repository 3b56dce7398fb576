//! Which whole tensors a recording keeps.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::{Serialize, Serializer};

use crate::hooks::{HookPoint, NeuronSet, Site};
use crate::model::Config;
use crate::report::DensePlan;

/// A site of all recorded layers, or of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SiteChoice {
    EveryLayer(Site),
    One(HookPoint),
}

impl FromStr for SiteChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let in_layers = Site::IN_LAYERS.iter();
        match in_layers.copied().find(|site| site.suffix() == name) {
            Some(site) => Ok(SiteChoice::EveryLayer(site)),
            None => Ok(SiteChoice::One(name.parse().map_err(|e| format!("{e}"))?)),
        }
    }
}

impl Serialize for SiteChoice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            SiteChoice::EveryLayer(site) => to.serialize_str(site.suffix()),
            SiteChoice::One(point) => to.collect_str(point),
        }
    }
}

/// Whether there are any, and which.
#[derive(Args, Serialize)]
pub(super) struct DenseArgs {
    /// Also write whole tensors of --sites, one per site and layer, f32, a row per recorded token.
    #[arg(long, requires = "out")]
    dense: bool,
    /// Sites of --dense, by name (of all layers) or full name (of one): hook_resid_pre, hook_attn_out,
    /// hook_resid_mid, mlp.hook_pre (gate), mlp.hook_pre_linear (up), mlp.hook_post (post), hook_mlp_out,
    /// hook_resid_post, ln_final.hook_scale; such as mlp.hook_post,blocks.3.hook_resid_mid.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        default_value = "mlp.hook_post",
        requires = "dense"
    )]
    sites: Vec<SiteChoice>,
    /// Neurons of --dense, for its mlp sites: a file with one `layer.neuron` a line (# begins a comment) [default: all].
    #[arg(long, value_name = "FILE", requires = "dense")]
    neurons: Option<PathBuf>,
}

impl DenseArgs {
    /// The tensors of these layers, still without rows; `None` where none are asked for.
    pub fn plan(
        &self,
        layers: &Range<usize>,
        config: &Config,
    ) -> anyhow::Result<Option<DensePlan>> {
        if !self.dense {
            return Ok(None);
        }
        let neurons = self.neurons.as_deref();
        let neurons = neurons.map(|path| NeuronSet::read(path, config.n_layers(), config.d_mlp));
        let points = self.points(layers, config)?;
        let plan = DensePlan::new(&points, neurons.transpose()?.as_ref(), 0, config);
        anyhow::ensure!(
            !plan.is_empty(),
            "--neurons names no neuron in the layers of --sites and --layers"
        );
        Ok(Some(plan))
    }

    fn points(&self, layers: &Range<usize>, config: &Config) -> anyhow::Result<Vec<HookPoint>> {
        let of_choice = |choice: &SiteChoice| match *choice {
            SiteChoice::EveryLayer(site) => {
                let points = layers.clone().map(|layer| HookPoint::in_layer(layer, site));
                points.collect()
            }
            SiteChoice::One(point) => vec![point],
        };
        let mut points: Vec<HookPoint> = self.sites.iter().flat_map(of_choice).collect();
        points.iter().try_for_each(|point| point.check(config))?;
        points.sort_unstable();
        points.dedup();
        Ok(points)
    }
}
