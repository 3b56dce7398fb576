//! The names of the sites: one grammar, TransformerLens's, each name with its exact width.

use std::fmt;
use std::str::FromStr;

use strum::{IntoStaticStr, VariantArray};

use crate::model::Config;

/// A tensor of the forward pass that observers may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum Site {
    /// The residual stream before the layer, `[tokens, d_model]`.
    #[strum(serialize = "hook_resid_pre")]
    ResidPre,
    /// What attention adds to the residual, after any post-norm, `[tokens, d_model]`.
    #[strum(serialize = "hook_attn_out")]
    AttnOut,
    /// The residual between attention and MLP, `[tokens, d_model]`.
    #[strum(serialize = "hook_resid_mid")]
    ResidMid,
    /// `gate`, before the activation, `[tokens, d_mlp]`.
    #[strum(serialize = "mlp.hook_pre")]
    Pre,
    /// `up`, `[tokens, d_mlp]`.
    #[strum(serialize = "mlp.hook_pre_linear")]
    PreLinear,
    /// `post = act(gate)·up`, after any edit, `[tokens, d_mlp]`.
    #[strum(serialize = "mlp.hook_post")]
    Post,
    /// What the MLP adds to the residual, after any post-norm, `[tokens, d_model]`.
    #[strum(serialize = "hook_mlp_out")]
    MlpOut,
    /// The residual after the layer, `[tokens, d_model]`.
    #[strum(serialize = "hook_resid_post")]
    ResidPost,
    /// The final norm's divisor, `sqrt(mean(x²) + eps)`, `[tokens]`; no layer.
    #[strum(serialize = "ln_final.hook_scale")]
    FinalScale,
}

impl Site {
    /// Every site, in the order in which they fire.
    pub const ALL: &[Site] = Site::VARIANTS;

    /// Those that every layer has.
    pub const IN_LAYERS: &[Site] = match Self::ALL {
        [in_layers @ .., Site::FinalScale] => in_layers,
        all => all,
    };

    /// The part of the name after `blocks.{l}.`, or the whole name of a site without a layer.
    pub fn suffix(self) -> &'static str {
        self.into()
    }

    /// Whether its values are one per neuron of an MLP.
    pub fn is_of_neurons(self) -> bool {
        matches!(self, Site::Pre | Site::PreLinear | Site::Post)
    }

    /// Values per token.
    pub fn width(self, config: &Config) -> usize {
        match self {
            Site::FinalScale => 1,
            site if site.is_of_neurons() => config.d_mlp,
            _ => config.d_model,
        }
    }
}

/// A site at its layer. Prints and parses as TransformerLens names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HookPoint {
    /// The layer; `None` exactly for [`Site::FinalScale`].
    pub layer: Option<usize>,
    /// The site.
    pub site: Site,
}

impl HookPoint {
    /// A site inside layer `layer`.
    pub fn in_layer(layer: usize, site: Site) -> Self {
        Self {
            layer: Some(layer),
            site,
        }
    }

    /// The final norm's scale.
    pub const FINAL_SCALE: HookPoint = HookPoint {
        layer: None,
        site: Site::FinalScale,
    };

    /// An error when the model has no such layer.
    pub fn check(&self, config: &Config) -> Result<(), HookError> {
        match self.layer {
            Some(layer) if layer >= config.n_layers() => Err(HookError::Layer {
                name: self.to_string(),
                last: config.n_layers() - 1,
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "blocks.{layer}.{}", self.site.suffix()),
            None => f.write_str(self.site.suffix()),
        }
    }
}

impl FromStr for HookPoint {
    type Err = HookError;

    fn from_str(name: &str) -> Result<Self, HookError> {
        if name == Site::FinalScale.suffix() {
            return Ok(Self::FINAL_SCALE);
        }
        let parsed = name.strip_prefix("blocks.").and_then(|rest| {
            let (layer, suffix) = rest.split_once('.')?;
            let site = Site::IN_LAYERS
                .iter()
                .find(|site| site.suffix() == suffix)?;
            Some(Self::in_layer(layer.parse().ok()?, *site))
        });
        parsed.ok_or_else(|| HookError::Unknown {
            name: name.to_string(),
        })
    }
}

/// What can be wrong with a hook's name or with what was expected of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// No site has this name.
    #[error("no site is called {name}; sites are blocks.{{layer}}.{} and {}", layer_sites(), Site::FinalScale.suffix())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The model has fewer layers.
    #[error("{name}: the model has {} layers, 0 to {last}", last + 1)]
    Layer {
        /// The site's name.
        name: String,
        /// The last layer.
        last: usize,
    },
    /// An observer was made for another batch or another model than it watches.
    #[error(
        "{name} has {} rows of {} values, and row {row} of {width} is read: this observer was made for another batch or model",
        found.0, found.1
    )]
    OtherRows {
        /// The site's name.
        name: String,
        /// The row that is read.
        row: usize,
        /// The width that it should have.
        width: usize,
        /// Rows and width that are there.
        found: (usize, usize),
    },
    /// A recorded site was asked for that never fired.
    #[error("{name} was not recorded under condition {condition}; ask for it before the run")]
    NotRecorded {
        /// The site's name.
        name: String,
        /// The condition's index.
        condition: usize,
    },
}

fn layer_sites() -> String {
    let names: Vec<_> = Site::IN_LAYERS.iter().map(|site| site.suffix()).collect();
    names.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_exactly_this_list() {
        let names: Vec<String> = Site::ALL
            .iter()
            .map(|&site| HookPoint {
                layer: (site != Site::FinalScale).then_some(7),
                site,
            })
            .map(|point| point.to_string())
            .collect();
        assert_eq!(
            names,
            [
                "blocks.7.hook_resid_pre",
                "blocks.7.hook_attn_out",
                "blocks.7.hook_resid_mid",
                "blocks.7.mlp.hook_pre",
                "blocks.7.mlp.hook_pre_linear",
                "blocks.7.mlp.hook_post",
                "blocks.7.hook_mlp_out",
                "blocks.7.hook_resid_post",
                "ln_final.hook_scale",
            ]
        );
        for name in names {
            assert_eq!(name.parse::<HookPoint>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn names_that_no_site_has_are_errors() {
        for name in [
            "blocks.7.hook_post",
            "mlp.hook_post",
            "blocks.x.hook_resid_pre",
            "blocks.7.ln_final.hook_scale",
            "",
        ] {
            assert!(name.parse::<HookPoint>().is_err(), "{name}");
        }
    }
}
