//! One text that is being written.

use std::io;

use crate::cli::terminal::output_failed;
use crate::engine::Engine;
use crate::experiment::{Choice, Generator};
use crate::hooks::Condition;
use crate::tokens::Tokenizer;

/// Writes the text of one arm, token by token.
pub(super) struct Writer<'e, 'm> {
    /// Of the arm.
    pub name: &'static str,
    edited: bool,
    generator: Generator<'e, 'm>,
    left: usize,
    prompt: Vec<u32>,
    pub ids: Vec<u32>,
    before: String,
    /// The text after the prompt, as far as its characters are whole.
    pub written: String,
}

impl<'e, 'm> Writer<'e, 'm> {
    /// At most `max_tokens` tokens after `prompt`.
    pub fn new(
        engine: &'e Engine<'m>,
        (name, condition): (&'static str, Condition),
        prompt: &[u32],
        choice: Choice,
        max_tokens: usize,
        tokenizer: &Tokenizer,
    ) -> Self {
        Self {
            name,
            edited: condition != Condition::Clean,
            generator: Generator::new(engine, condition, prompt.to_vec(), choice),
            left: max_tokens,
            prompt: prompt.to_vec(),
            ids: Vec::new(),
            before: tokenizer.decode(prompt),
            written: String::new(),
        }
    }

    /// Writes one more token and returns the text that it completes; `None` at the end, which a special token is too.
    fn next(&mut self, tokenizer: &Tokenizer) -> anyhow::Result<Option<String>> {
        if self.left == 0 {
            return Ok(None);
        }
        let token = self.generator.next_token()?;
        if tokenizer.is_special(token) {
            self.left = 0;
            return Ok(None);
        }
        self.left -= 1;
        self.ids.push(token);
        Ok(Some(self.completed(tokenizer)))
    }

    /// The text that the last token completes: nothing while a character is not whole.
    fn completed(&mut self, tokenizer: &Tokenizer) -> String {
        let all = tokenizer.decode(&[&self.prompt[..], &self.ids].concat());
        let written = all.strip_prefix(self.before.as_str()).unwrap_or(&all);
        if written.ends_with('\u{fffd}') {
            return String::new();
        }
        let new = written.strip_prefix(self.written.as_str());
        let new = new.unwrap_or("").to_string();
        self.written = written.to_string();
        new
    }
}

/// Writes all texts to their ends, a token of each in turn. `each` sees what a token completed, and all texts so far.
pub(super) fn write_all<'e, 'm>(
    writers: &mut [Writer<'e, 'm>],
    tokenizer: &Tokenizer,
    mut each: impl FnMut(&str, &[Writer<'e, 'm>]) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut going = true;
    while going && !output_failed() {
        going = false;
        for i in 0..writers.len() {
            if let Some(new) = writers[i].next(tokenizer)? {
                each(&new, writers)?;
                going = true;
            }
        }
    }
    Ok(())
}

/// Refuses the text of an edit that changed nothing.
pub(super) fn check(writers: &[Writer<'_, '_>]) -> anyhow::Result<()> {
    for writer in writers.iter().filter(|writer| writer.edited) {
        let changed = writer.generator.changed();
        anyhow::ensure!(
            changed.changed > 0,
            "the edit changed no value ({} were in its neurons, positions and sign case): this text says nothing",
            changed.touched
        );
    }
    Ok(())
}
