//! The command line: arguments to calls, results to the terminal. No arithmetic.

#[macro_use]
mod terminal;

mod ablate;
mod ablate_text;
mod about_subjects;
mod args;
mod attributes;
mod classify;
mod control;
mod descent;
mod edit_args;
mod edits;
mod effect_text;
mod effects_table;
mod experiment;
mod export;
mod facts;
mod fetch;
mod forecast;
mod generate;
mod given;
mod inputs;
mod inspect;
mod long_command;
mod merge;
mod models;
mod neuron;
mod numbers;
mod path_args;
mod process;
mod progress;
mod published;
mod rank;
mod rank_table;
mod record;
mod reference;
mod report;
mod rerun;
mod rerun_input;
mod run;
mod setup;
mod shell;
mod stop;
mod sweep;
mod sweep_table;
mod table;
mod threads;
mod treatments;
mod verify;
mod verify_table;

pub use process::set_up_process;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

const AFTER_HELP: &str = "\
Examples:
  gatelens ablate
  gatelens ablate --classes depletion --when gate- --draws 50 --out runs/depletion
  gatelens ablate --model HuggingFaceTB/SmolLM2-360M --prompts known_1000.json
  gatelens sweep --window 3 --draws 20 --out runs/layers
  gatelens attributes --filter-order filter-first
  gatelens rank --class conditional-depletion --out runs/rank
  gatelens record --text neutral --out runs/neutral
  gatelens ablate --match layer+frequency --reference runs/neutral
  gatelens neuron 13.1007 --recorded runs/neutral
  gatelens classify --model gemma3-270m --fold none
  gatelens ablate --shard 0/8 --out runs/shared
  gatelens merge runs/shared
  gatelens report runs/layers --figures
  gatelens run experiment.toml --dry-run
  gatelens rerun runs/layers
  gatelens inspect ./model.gguf
  gatelens verify --quick

Definitions: neuron classes and experiments follow Gerstner and Schütze, arXiv 2505.17936.";

/// What do a gated language model's enrichment and depletion neurons do to factual recall?
///
/// gatelens sorts the MLP neurons of a gated model (SwiGLU, GeGLU) into input-output classes by the
/// cosines between their weights, ablates a class, and measures what that does to factual recall,
/// against layer-matched random neurons, with intervals.
#[derive(Parser)]
#[command(name = "gatelens", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Fetch(fetch::Fetch),
    Inspect(inspect::Inspect),
    Models(models::Models),
    Neuron(neuron::NeuronArgs),
    Generate(generate::Generate),
    Classify(classify::Classify),
    Export(export::Export),
    Run(experiment::RunFile),
    Record(Box<record::Record>),
    Ablate(Box<ablate::Ablate>),
    Sweep(Box<sweep::Sweep>),
    Rank(Box<rank::Rank>),
    Verify(Box<verify::Verify>),
    Merge(merge::Merge),
    Rerun(rerun::Rerun),
    Report(report::Report),
    Attributes(Box<attributes::AttributesArgs>),
    Completions(shell::Completions),
    Man(shell::ManPage),
}

/// The whole program: parse, run, print the error chain, exit code.
pub fn run() -> ExitCode {
    threads::check_thread_variables();
    set_up_process();
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(message) => {
            match experiment::misplaced_option(&message, &Cli::command()) {
                Some(error) => notice!("error: {error}"),
                None => terminal::print_clap(&message),
            }
            // Help and version are no errors; wrong arguments end like every other error.
            if message.use_stderr() {
                return ExitCode::FAILURE;
            }
            Ok(())
        }
    };
    match outcome.and(terminal::finish_output()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// Runs the subcommand.
    fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Fetch(fetch) => fetch.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Models(models) => models.run(),
            Command::Neuron(neuron) => neuron.run(),
            Command::Generate(generate) => generate.run(),
            Command::Classify(classify) => classify.run(),
            Command::Export(export) => export.run(),
            Command::Run(file) => file.run(&Cli::command(), |words| {
                let program = std::iter::once("gatelens");
                Cli::try_parse_from(program.chain(words.iter().map(String::as_str))).map(drop)
            }),
            Command::Record(record) => record.run(),
            Command::Ablate(ablate) => ablate.run(),
            Command::Sweep(sweep) => sweep.run(),
            Command::Rank(rank) => rank.run(),
            Command::Verify(verify) => verify.run(),
            Command::Merge(merge) => merge.run(|words| Cli::try_parse_from(words)?.run()),
            Command::Rerun(rerun) => rerun.run(|words| Cli::try_parse_from(words)?.run()),
            Command::Report(report) => report.run(),
            Command::Attributes(attributes) => attributes.run(),
            Command::Completions(completions) => completions.run(Cli::command()),
            Command::Man(page) => page.run(Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::Cli;
    use crate::report::PATHS;

    /// Commands that write run.json.
    const RUNS: [&str; 8] = [
        "classify",
        "export",
        "record",
        "ablate",
        "sweep",
        "rank",
        "attributes",
        "verify",
    ];

    #[test]
    fn every_option_that_names_a_file_is_an_input_of_the_run() {
        let program = Cli::command();
        let commands = program.get_subcommands();
        let runs = commands.filter(|command| RUNS.contains(&command.get_name()));
        let options = runs.flat_map(|command| command.get_arguments());
        let paths =
            options.filter(|option| option.get_value_parser().type_id() == TypeId::of::<PathBuf>());
        let found: BTreeSet<&str> = paths.map(|option| option.get_id().as_str()).collect();
        let expected = PATHS.into_iter().chain(["out"]);
        assert_eq!(found, expected.collect());
    }
}
