//! What a recording reads.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::cli::args::as_text;
use crate::cli::inputs::{Texts, read_prompts};
use crate::cli::long_command::LongCommand;
use crate::cli::numbers;
use crate::experiment::record::RecordInput;
use crate::model::Config;
use crate::prompts::PromptSet;
use crate::report::{CONTEXT, PromptSetInfo};
use crate::tokens::{Positions, Windowing, tokenize};

/// Prompts or texts, and how much of them.
#[derive(Args, Serialize)]
pub(super) struct InputArgs {
    /// Prompts: JSON Lines with id, prompt, subject, target and perhaps relation, or a JSON array
    /// with the fields of known_1000 or CounterFact, or another of the published sets that `ablate --help` names; the targets are not
    /// read [default: the bundled facts].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Texts instead of prompts: a plain text or JSON Lines file, or `neutral` for the bundled text. May be
    /// given several times.
    #[arg(long, value_name = "FILE", conflicts_with = "prompts")]
    text: Vec<PathBuf>,
    /// Read no more than so many tokens: whole prompts, and of texts the beginning.
    #[arg(long, value_name = "N", value_parser = numbers::token_limit, allow_negative_numbers = true)]
    max_tokens: Option<usize>,
    /// Tokens of a window of text, BOS included [default: 1024, or what the model can read].
    #[arg(long, value_name = "N", requires = "text", value_parser = numbers::tokens, allow_negative_numbers = true)]
    context: Option<usize>,
    /// Record these tokens of the prompts alone, in all files: all, not-first, subject, subject-last
    /// or last.
    #[arg(long, default_value = "all", conflicts_with = "text")]
    #[serde(serialize_with = "as_text")]
    positions: Positions,
}

/// The prompts and the texts that were read; there are only one or the other.
pub(super) type Sources = (Option<PromptSet>, Vec<PromptSetInfo>);

impl InputArgs {
    /// Reads and cuts the input.
    pub fn read(&self, command: &LongCommand<'_>) -> anyhow::Result<(RecordInput, Sources)> {
        let too_few = || match self.max_tokens {
            Some(max) => format!("nothing to record in --max-tokens {max}"),
            None => "nothing to record".to_string(),
        };
        if self.text.is_empty() {
            let set = read_prompts(self.prompts.as_deref())?;
            let batch = command.batch(tokenize, &set)?;
            let input = RecordInput::of_prompts(&set, &batch, self.positions, self.max_tokens);
            return Ok((input.with_context(too_few)?, (Some(set), Vec::new())));
        }
        let cut = Windowing {
            bos: command.args.bos,
            context: self.context(command.opened.config())?,
            max_tokens: self.max_tokens,
        };
        let texts = Texts::read(&self.text, &command.opened, cut)?;
        let info = texts.info();
        let input = RecordInput::of_texts(texts.files, texts.windows);
        Ok((input.with_context(too_few)?, (None, info)))
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
}
