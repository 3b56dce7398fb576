//! One text that is being written.

use crate::engine::Engine;
use crate::experiment::{Choice, Generator};
use crate::hooks::Condition;
use crate::tokens::Tokenizer;

/// What was written after a prompt.
pub(super) struct Text {
    /// Of its arm.
    pub name: &'static str,
    prompt: Vec<u32>,
    pub ids: Vec<u32>,
    before: String,
    pub written: String,
}

impl Text {
    fn new(name: &'static str, prompt: &[u32], tokenizer: &Tokenizer) -> Self {
        Self {
            name,
            prompt: prompt.to_vec(),
            ids: Vec::new(),
            before: tokenizer.decode(prompt),
            written: String::new(),
        }
    }

    /// Appends a token and returns the text that it completes: nothing while a character is not whole.
    fn push(&mut self, token: u32, tokenizer: &Tokenizer) -> String {
        self.ids.push(token);
        let all = tokenizer.decode(&[&self.prompt[..], &self.ids[..]].concat());
        let written = all.strip_prefix(self.before.as_str()).unwrap_or(&all);
        if written.ends_with('\u{fffd}') {
            return String::new();
        }
        let new = written
            .strip_prefix(self.written.as_str())
            .unwrap_or("")
            .to_string();
        self.written = written.to_string();
        new
    }
}

/// Writes the text of one arm, token by token.
pub(super) struct Writer<'e, 'm> {
    generator: Generator<'e, 'm>,
    edited: bool,
    left: usize,
    pub text: Text,
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
            edited: condition != Condition::Clean,
            generator: Generator::new(engine, condition, prompt.to_vec(), choice),
            left: max_tokens,
            text: Text::new(name, prompt, tokenizer),
        }
    }

    /// Writes one more token and returns the text that it completes; `None` at the end, which a special token is too.
    pub fn next(&mut self, tokenizer: &Tokenizer) -> anyhow::Result<Option<String>> {
        if self.left == 0 {
            return Ok(None);
        }
        let token = self.generator.next_token()?;
        if tokenizer.is_special(token) {
            self.left = 0;
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(self.text.push(token, tokenizer)))
    }

    /// The text, unless it is that of an edit that changed nothing.
    pub fn finish(self) -> anyhow::Result<Text> {
        let changed = self.generator.changed();
        anyhow::ensure!(
            !self.edited || changed.changed > 0,
            "the edit changed no value ({} were in its neurons, positions and sign case): this text says nothing",
            changed.touched
        );
        Ok(self.text)
    }
}
