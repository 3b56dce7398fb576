//! What a recording reads and keeps: all that can be wrong, found before a weight is read.

use std::ops::Range;
use std::str::FromStr;

use anyhow::Context;
use serde::{Serialize, Serializer};

use super::super::inputs::{checked_batch, checked_windows, read_prompts};
use super::super::setup::{bos_in_words, run_info, tokenizer};
use super::Record;
use crate::experiment::Treatment;
use crate::experiment::record::RecordInput;
use crate::hooks::{HookPoint, NeuronSet, Site};
use crate::hub::LocatedModel;
use crate::io_class::{
    Class, ClassError, Match, MatchedDraws, NeuronTable, check_layers, check_threshold,
    matched_draws,
};
use crate::model::Config;
use crate::prompts::Documents;
use crate::report::{CONTEXT, DensePlan, PromptSetInfo, RunInfo};
use crate::tokens::{Tokenizer, Windowing, tokenize};

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

/// Where the input comes from, for `run.json`.
#[derive(Default)]
struct Sources {
    prompts: Option<PromptSetInfo>,
    texts: Vec<PromptSetInfo>,
}

/// Everything that is known before a weight is read.
pub(super) struct Plan {
    pub input: RecordInput,
    pub layers: Range<usize>,
    pub dense: Option<DensePlan>,
    pub tokenizer: Tokenizer,
}

impl Record {
    pub(super) fn plan(
        &self,
        located: &LocatedModel,
        config: &Config,
    ) -> anyhow::Result<(Plan, RunInfo)> {
        anyhow::ensure!(
            self.matching != Match::LayerFrequency,
            "--match layer+frequency has nothing to match by: how often neurons fire is what `record` measures. Use \
             layer or layer+norm here; `ablate` and `sweep` take the frequencies from this recording (--reference)"
        );
        check_threshold(self.class.threshold)?;
        let layers = self.layers.clone().unwrap_or(0..config.n_layers());
        check_layers(&layers, config.n_layers()).context("--layers")?;
        let neurons = self.neurons.as_deref();
        let neurons = neurons.map(|path| NeuronSet::read(path, config.n_layers(), config.d_mlp));
        let neurons = neurons.transpose()?;
        let points = self.points(&layers, config)?;
        let tokenizer = tokenizer(located)?;
        let (input, sources) = self.input(&tokenizer, config)?;
        let dense = DensePlan::new(&points, neurons.as_ref(), input.rows(), config);
        anyhow::ensure!(
            !(self.dense && dense.is_empty()),
            "--neurons names no neuron in the layers of --sites and --layers"
        );
        let settings = serde_json::to_value(self)?;
        let compute = Some(&self.compute);
        let mut info = run_info("record", settings, located, config, compute, &self.class)?;
        info.tokenizer_sha256 = Some(tokenizer.sha256().to_string());
        info.bos = Some(bos_in_words(self.bos, &tokenizer)?);
        info.seed = Some(self.seed);
        info.prompts = sources.prompts;
        info.texts = sources.texts;
        let plan = Plan {
            input,
            layers,
            dense: self.dense.then_some(dense),
            tokenizer,
        };
        Ok((plan, info))
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

    fn input(
        &self,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> anyhow::Result<(RecordInput, Sources)> {
        let too_few = || match self.max_tokens {
            Some(max) => format!("nothing to record in --max-tokens {max}"),
            None => "nothing to record".to_string(),
        };
        let mut sources = Sources::default();
        let input = if self.text.is_empty() {
            let set = read_prompts(self.prompts.as_deref())?;
            sources.prompts = Some(PromptSetInfo::new(&set.name, &set.sha256));
            let batch = checked_batch(tokenize, &set, tokenizer, self.bos, config.vocab_size)?;
            RecordInput::of_prompts(&set, &batch, self.positions, self.max_tokens)
        } else {
            let files = Documents::read_all(&self.text)?;
            let texts = files
                .iter()
                .map(|file| PromptSetInfo::new(&file.name, &file.sha256));
            sources.texts = texts.collect();
            let cut = Windowing {
                bos: self.bos,
                context: self.context(config)?,
                max_tokens: self.max_tokens,
            };
            let windows = checked_windows(&files, tokenizer, cut, config.vocab_size)?;
            RecordInput::of_texts(files, windows)
        };
        Ok((input.with_context(too_few)?, sources))
    }

    fn context(&self, config: &Config) -> anyhow::Result<usize> {
        let max = config.max_positions;
        let context = self.context.unwrap_or(CONTEXT.min(max));
        anyhow::ensure!(
            context <= max,
            "--context {context} is more than this model was made for; use at most {max}"
        );
        Ok(context)
    }

    /// The classes that have neurons in the recorded layers, each with its draws.
    pub(super) fn treatments(
        &self,
        table: &NeuronTable,
        layers: &Range<usize>,
    ) -> anyhow::Result<Vec<Treatment>> {
        let matching = self.matching.with(None)?;
        let of_class = |class: Class| {
            let set = match table.select(class.into(), Some(layers.clone())) {
                Err(ClassError::EmptyClass { .. }) => return None,
                set => set,
            };
            Some(set.and_then(|set| {
                let draws = match matched_draws(table, &set, self.draws, self.seed, matching) {
                    // A class that is all there is has figures, and nothing to compare them with.
                    Err(ClassError::NothingOutside { .. }) => MatchedDraws {
                        sets: Vec::new(),
                        shortfall: Vec::new(),
                    },
                    draws => draws?,
                };
                Ok(Treatment::new(class.to_string(), set, draws))
            }))
        };
        let treatments = Class::ALL.into_iter().filter_map(of_class);
        Ok(treatments.collect::<Result<_, ClassError>>()?)
    }
}
