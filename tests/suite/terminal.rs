//! What a terminal shows of texts that are written side by side.

use std::process::Command;

use super::cli::{file, succeed};

const ROWS: usize = 6;
const COLUMNS: usize = 80; // what is taken where there is no terminal, too

/// A terminal: what it shows, and what went out at its top.
struct Terminal {
    lines: Vec<Vec<char>>,
    /// The first line that the cursor can reach.
    top: usize,
    row: usize,
    column: usize,
}

impl Terminal {
    fn new() -> Self {
        Self {
            lines: vec![Vec::new()],
            top: 0,
            row: 0,
            column: 0,
        }
    }

    fn read(&mut self, output: &str) {
        let mut chars = output.chars();
        while let Some(c) = chars.next() {
            match c {
                '\r' => self.column = 0,
                '\n' => self.line_feed(),
                '\x1b' => {
                    assert_eq!(chars.next(), Some('['));
                    let mut number = String::new();
                    let rest = chars.by_ref();
                    let end = rest.find(|c| {
                        number.push(*c);
                        c.is_alphabetic()
                    });
                    let n = number.trim_end_matches(char::is_alphabetic).parse().ok();
                    self.command(end.unwrap(), n);
                }
                c => self.put(c),
            }
        }
    }

    fn command(&mut self, command: char, n: Option<usize>) {
        match command {
            'A' => self.row = self.row.saturating_sub(n.unwrap_or(1)).max(self.top),
            'B' => self.row = (self.row + n.unwrap_or(1)).min(self.top + ROWS - 1),
            'K' => self.line().clear(),
            'm' => {} // colour
            other => panic!("this terminal does not know {other:?}"),
        }
    }

    fn line_feed(&mut self) {
        self.row += 1;
        self.top = self.top.max((self.row + 1).saturating_sub(ROWS));
    }

    fn line(&mut self) -> &mut Vec<char> {
        self.lines
            .resize(self.lines.len().max(self.row + 1), Vec::new());
        &mut self.lines[self.row]
    }

    fn put(&mut self, c: char) {
        if self.column == COLUMNS {
            self.column = 0;
            self.line_feed();
        }
        let column = self.column;
        let line = self.line();
        line.resize(line.len().max(column + 1), ' ');
        line[column] = c;
        self.column += 1;
    }

    fn text(&self) -> Vec<String> {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_string();
        self.lines.iter().map(line).collect()
    }
}

/// What a program writes to a terminal; `None` where this system has no `script` to make one.
fn in_a_terminal(command: &str) -> Option<String> {
    let script = format!("stty rows {ROWS} cols {COLUMNS}; exec {command}");
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .ok()?;
    let written = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{written}");
    Some(written)
}

#[test]
#[cfg(target_os = "linux")]
fn two_texts_grow_in_a_terminal_and_leave_one_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let neurons: String = (0..400).map(|n| format!("12.{n}\n")).collect();
    let neurons = file(&dir, "neurons.txt", &neurons);
    let prompt = "Once upon a time";
    let mut args = vec![
        "generate",
        "--compare",
        "--neurons",
        &neurons,
        "--prompt",
        prompt,
    ];
    args.extend(["--max-tokens", "60"]);
    let expected = succeed(&args);
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let heading = ["clean", "edited"].map(|arm| expected[2].contains(arm));
    assert!(
        heading == [true; 2] && expected.len() > ROWS + 4,
        "{expected:#?}"
    );

    let quoted = args.iter().map(|arg| format!("'{arg}'"));
    let quoted = quoted.collect::<Vec<_>>().join(" ");
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let Some(written) = in_a_terminal(&format!("{} {quoted}", binary.display())) else {
        eprintln!("not run: this machine has no `script`");
        return;
    };
    let mut terminal = Terminal::new();
    terminal.read(&written);
    // To the first line of the last drawing, and that line emptied.
    let drawings = written.matches("A\r\x1b[2K").count();
    assert!(drawings > 50, "drawn token by token: {drawings}");
    let text = terminal.text();
    let start = text.len() - expected.len();
    assert_eq!(text[start..], expected, "{text:#?}");
    // Before it stand the edit and nothing that was drawn on the way.
    assert!(start <= 2, "{text:#?}");
}
