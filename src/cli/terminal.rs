//! The only way to standard output and standard error: `outln!` and `out!` for results, `notice!` for a line of
//! anything else, `print_json` for machines.
//!
//! Neither ever panics. A pipe that was closed ends the output and not the run, so that a run still writes its files;
//! then the program ends quietly. A full disk is an error at the end. What cannot be written to standard error is lost
//! and stops nothing. Foreign characters that do not show as themselves are escaped here (`printable`), once for all
//! commands; colours are asked for with `Paint`, whose marks turn into colours only here.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;

use anyhow::Context;
use serde::Serialize;

use crate::printable::{is_joiner, printable, printable_after, printable_json};

/// Writes a line to standard output.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::terminal::print_line(format_args!($($text)*)) };
}

/// Writes a part of a line to standard output, at once.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::terminal::print_part(format_args!($($text)*)) };
}

/// Writes a line to standard error.
macro_rules! notice {
    ($($text:tt)*) => { $crate::cli::terminal::print_notice(format_args!($($text)*)) };
}

/// What is known of standard output.
struct Output {
    /// The last character that went out: what a joiner joins to.
    last: Option<char>,
    /// Joiners that wait for what comes after them.
    waiting: String,
    /// The first error; nothing is written after it.
    failed: Option<io::Error>,
    /// Nothing is written while this holds.
    muted: bool,
}

static OUTPUT: Mutex<Output> = Mutex::new(Output {
    last: None,
    waiting: String::new(),
    failed: None,
    muted: false,
});

impl Output {
    fn text(&mut self, text: &str) {
        let mut text = std::mem::take(&mut self.waiting) + text;
        let whole = text.trim_end_matches(is_joiner).len();
        self.waiting = text.split_off(whole);
        self.emit(&text);
    }

    fn emit(&mut self, text: &str) {
        let shown = painted(self.last, text, console::colors_enabled());
        self.last = text.chars().next_back().or(self.last);
        self.write(shown.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() && !self.muted {
            self.failed = io::stdout().write_all(bytes).err();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = io::stdout().flush().err();
        }
    }
}

fn with<T>(work: impl FnOnce(&mut Output) -> T) -> T {
    // Nothing panics while it is held; if something did, what is known still holds.
    work(&mut OUTPUT.lock().unwrap_or_else(|held| held.into_inner()))
}

/// `outln!`.
pub fn print_line(text: fmt::Arguments<'_>) {
    with(|output| output.text(&format!("{text}\n")));
}

/// `out!`.
pub fn print_part(text: fmt::Arguments<'_>) {
    with(|output| {
        output.text(&text.to_string());
        output.flush();
    });
}

/// `notice!`.
pub fn print_notice(text: fmt::Arguments<'_>) {
    let line = painted(None, &format!("{text}\n"), console::colors_enabled_stderr());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Writes a value to standard output as JSON, its strings exactly as they are.
pub fn print_json(value: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    print_json_text(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The same for what is JSON already.
pub fn print_json_text(json: &str) {
    with(|output| output.write(format!("{}\n", printable_json(json)).as_bytes()));
}

/// Does some work without its results on standard output; what it says on standard error is printed.
pub fn without_results<T>(work: impl FnOnce() -> T) -> T {
    with(|output| output.muted = true);
    let done = work();
    with(|output| output.muted = false);
    done
}

/// Whether nobody reads on: what only writes there may end.
pub fn output_failed() -> bool {
    with(|output| output.failed.is_some())
}

/// Writes what waits, and says what went wrong.
///
/// # Errors
/// Standard output took not everything, unless its reader went away, which is no fault of this program.
pub fn finish_output() -> anyhow::Result<()> {
    let failed = with(|output| {
        let waiting = std::mem::take(&mut output.waiting);
        output.emit(&waiting);
        output.flush();
        output.failed.take()
    });
    match failed {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}

/// Prints what clap has to say: help and version to standard output, what is wrong with the arguments to standard
/// error.
pub fn print_clap(message: &clap::Error) {
    let text = message.render();
    let (plain, coloured) = (text.to_string(), text.ansi().to_string());
    let colours = if message.use_stderr() {
        console::colors_enabled_stderr()
    } else {
        console::colors_enabled()
    };
    let shown = match printable(&plain) {
        Cow::Borrowed(_) if colours => coloured,
        safe => safe.into_owned(),
    };
    if message.use_stderr() {
        let _ = io::stderr().write_all(shown.as_bytes());
    } else {
        with(|output| output.write(shown.as_bytes()));
    }
}

/// How text looks on a terminal that has colours.
#[derive(Clone, Copy)]
pub enum Paint {
    Bold,
    Dim,
    Reverse,
    Green,
    Red,
    Yellow,
}

impl Paint {
    /// As ANSI numbers them, in the order of the variants, which is that of the marks.
    const CODES: [&str; 6] = ["1", "2", "1;7", "32", "31", "33"];

    /// `text` between marks, made safe.
    pub fn on(self, text: impl fmt::Display) -> String {
        let mark = char::from_u32(FIRST_MARK as u32 + self as u32).unwrap_or(END_MARK);
        format!("{mark}{}{END_MARK}", printable(&text.to_string()))
    }
}

/// Marks are characters that Unicode has not assigned and that take no room, so that tables count none.
const FIRST_MARK: char = '\u{fff0}';
const END_MARK: char = '\u{fff8}';

/// `text` made safe, with its marks turned into colours. No colour outlasts the text.
fn painted(before: Option<char>, text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut last, mut rest, mut open) = (before, text, false);
    let is_mark = |c: char| (FIRST_MARK..=END_MARK).contains(&c);
    while let Some(at) = rest.find(is_mark) {
        let (plain, marked) = rest.split_at(at);
        out += &printable_after(last, plain);
        last = plain.chars().next_back().or(last);
        let mark = marked.chars().next().unwrap_or(END_MARK);
        let code = Paint::CODES.get(mark as usize - FIRST_MARK as usize);
        match code {
            Some(code) if colours => out += &format!("\x1b[{code}m"),
            Some(_) => {}
            None if mark != END_MARK || !open => out += &printable(&mark.to_string()),
            None if colours => out += "\x1b[0m",
            None => {}
        }
        open = code.is_some();
        rest = &marked[mark.len_utf8()..];
    }
    out += &printable_after(last, rest);
    if open && colours {
        out += "\x1b[0m";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_asked_for_alone() {
        let text = format!(
            "{}: \x1b[31m{}",
            Paint::Dim.on("a\x1b[32mb"),
            Paint::Red.on("c")
        );
        let safe = "a\\u{1b}[32mb: \\u{1b}[31mc";
        assert_eq!(painted(None, &text, false), safe);
        let coloured = painted(None, &text, true);
        assert_eq!(
            coloured,
            "\x1b[2ma\\u{1b}[32mb\x1b[0m: \\u{1b}[31m\x1b[31mc\x1b[0m"
        );
        assert_eq!(painted(None, "a\u{fff0}b\n", true), "a\x1b[1mb\n\x1b[0m");
        assert_eq!(painted(None, "a\u{fff8}b", true), "a\\u{fff8}b");
    }

    #[test]
    fn a_joiner_waits_for_what_it_joins() {
        let mut output = Output {
            last: None,
            waiting: String::new(),
            failed: Some(ErrorKind::BrokenPipe.into()),
            muted: false,
        };
        output.text("👩\u{200d}");
        assert_eq!(output.waiting, "\u{200d}");
        output.text("🚀");
        assert_eq!((output.waiting.as_str(), output.last), ("", Some('🚀')));
        assert_eq!(painted(Some('👩'), "\u{200d}🚀", true), "\u{200d}🚀");
    }
}
