//! `record`: what the neurons do while the model reads.

mod args;
mod plan;
mod view;

pub use args::Record;

use std::time::Instant;

use super::run::Job;
use super::setup::{check_memory, find_model, open_checkpoint};
use super::terminal::print_json;
use crate::engine::Engine;
use crate::experiment::record::{
    Activity, ClassSets, RecordPlan, RecordSink, TOKENS_PER_PASS, class_view, record,
};
use crate::io_class::NeuronTable;
use crate::model::Model;
use crate::report::{RecordFiles, expected_bytes};
use crate::stats::BootstrapSettings;
use plan::Plan;

impl Record {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let start = Instant::now();
        // Everything that can be wrong is found before a weight is read.
        let mut job = Job::claim(&self.output, &self.part, start)?;
        let load_options = self.compute.load_options()?;
        let located = find_model(&self.model.model)?;
        let checkpoint = open_checkpoint(&located)?;
        check_memory(&load_options, checkpoint.config())?;
        let (plan, info) = self.plan(&located, checkpoint.config())?;
        job.describe(|| Ok(info))?;
        if let (Some(out), false) = (job.out(), job.goes_on()) {
            out.check_space(self.expected_bytes(&plan))?;
        }

        let table = NeuronTable::classify(&checkpoint, self.class.fold, self.class.threshold)?;
        let sets = ClassSets::new(self.treatments(&table, &plan.layers)?, &table);
        let model = Model::load(checkpoint, load_options)?;
        let dense = plan.dense.as_ref();
        let mut files = job
            .out()
            .map(|out| RecordFiles::new(out, &table, self.top, dense));
        let of_run = RecordPlan {
            input: &plan.input,
            layers: plan.layers.clone(),
            sets: &sets,
        };
        let recorded = job.run(&model, |run| {
            let sink = files.as_mut().map(|files| files as &mut dyn RecordSink);
            record(run, &Engine::new(&model), &of_run, sink)
        })?;
        let Some((recording, wall_s)) = recorded else {
            return Ok(());
        };
        let settings = BootstrapSettings {
            seed: self.seed,
            ..BootstrapSettings::default()
        };
        let view = class_view(&recording.activity, &settings)?;
        let written = || {
            if let Some(files) = &files {
                files.finish(&recording, &plan.input, &plan.tokenizer)?;
            }
            let view = serde_json::to_vec_pretty(&view)?;
            Ok(vec![("class_activity.json", view)])
        };
        let written = job.finish_with(|_| written(), counts(&plan, &sets), wall_s);
        self.print(&view, &plan, &sets)?;
        written.say(self.output.json)
    }

    /// Bytes that the files take, those of the passes among them until they are joined.
    fn expected_bytes(&self, plan: &Plan) -> u64 {
        let passes = plan.input.batch().tokens().div_ceil(TOKENS_PER_PASS);
        let copies = if passes > 1 { 2 } else { 1 };
        let rows = plan.input.rows();
        copies * expected_bytes(rows, plan.layers.len(), self.top, plan.dense.as_ref())
    }

    fn print(&self, view: &[Activity], plan: &Plan, sets: &ClassSets) -> anyhow::Result<()> {
        if self.output.json {
            print_json(view)?;
            return Ok(());
        }
        let input = &plan.input;
        let heading = view::Heading {
            model: &self.model.model,
            units: input.units.len(),
            unit_name: input.kind.units(),
            tokens: input.rows(),
            layers: plan.layers.clone(),
            fold: self.class.fold,
            draws: self.draws,
        };
        view::print(view, &heading, sets);
        Ok(())
    }
}

fn counts(plan: &Plan, sets: &ClassSets) -> serde_json::Value {
    let input = &plan.input;
    let (sequences, tokens) = (input.sequences(), input.batch().tokens());
    let treatments = sets.treatments();
    let neurons = treatments.iter().map(|t| (&t.class, t.neurons.len()));
    let shortfall = treatments.iter().map(|t| (&t.class, &t.shortfall));
    serde_json::json!({
        "units": input.units.len(),
        "kind": input.kind.units(),
        "sequences": {"read": sequences, "of": sequences},
        "tokens": {"read": tokens, "of": tokens},
        "rows": input.rows(),
        "repeated_rows": input.repeated_rows(),
        "layers": [plan.layers.start, plan.layers.end],
        "neurons": neurons.collect::<std::collections::BTreeMap<_, _>>(),
        "shortfall": shortfall.collect::<std::collections::BTreeMap<_, _>>(),
    })
}
