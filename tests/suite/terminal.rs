//! What a terminal shows of texts that are written side by side.

use std::process::Command;

use super::cli::{FACTS, file, succeed};

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

#[test]
#[cfg(target_os = "linux")]
fn a_table_that_is_wider_than_the_terminal_stands_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let neurons = file(&dir, "a-long-name-of-a-neuron-file.txt", "0.1\n1.2\n");
    let (model, prompts) = (tiny(), file(&dir, "facts.jsonl", FACTS));
    let args = [
        "ablate",
        "--model",
        &model,
        "--neurons",
        &neurons,
        "--prompts",
        &prompts,
        "--subset",
        "all",
        "--draws",
        "5",
    ];
    let widths = |text: &str| -> Vec<usize> {
        let rules = text.lines().map(|line| line.trim_end());
        let rules = rules.filter(|line| line.starts_with("──"));
        rules.map(|line| line.chars().count()).collect()
    };
    let piped = widths(&succeed(&args));
    assert!(piped.len() == 1 && piped[0] > COLUMNS, "{piped:?}");
    let quoted = args.iter().map(|arg| format!("'{arg}'"));
    let quoted = quoted.collect::<Vec<_>>().join(" ");
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let command = format!("{} {quoted} 2>/dev/null", binary.display());
    let Some(written) = in_a_terminal(&command) else {
        eprintln!("not run: this machine has no `script`");
        return;
    };
    let shown = widths(&written);
    assert!(shown.len() > 1, "{written}");
    assert!(shown.iter().all(|width| *width <= COLUMNS), "{written}");
    assert!(
        written.matches("class ").count() >= shown.len(),
        "{written}"
    );
}

/// Runs with these streams, through the shell.
#[cfg(unix)]
fn shell(args: &str, streams: &str) -> (Option<i32>, String) {
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let line = format!("'{}' {args} {streams}", binary.display());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[cfg(unix)]
fn tiny() -> String {
    super::common::goldens()
        .join("tiny-llama")
        .to_str()
        .unwrap()
        .to_string()
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_output_is_quiet_and_a_full_one_an_error() {
    let model = tiny();
    let dir = tempfile::tempdir().unwrap();
    let neurons = file(&dir, "n.txt", "0.1\n");
    let commands = [
        "--help".to_string(),
        "models".to_string(),
        "models --json".to_string(),
        format!("inspect '{model}'"),
        format!("fetch '{model}'"),
        format!("classify --model '{model}' --json"),
        format!("generate --model '{model}' --prompt a --max-tokens 9"),
        format!(
            "generate --model '{model}' --prompt a --max-tokens 9 --neurons '{neurons}' --compare"
        ),
        format!("neuron 0.1 --model '{model}'"),
    ];
    for args in commands {
        // A pipe whose reader is gone already.
        let (code, stderr) = shell(&args, "| true; exit ${PIPESTATUS:-0}");
        assert!(
            code == Some(0) && !stderr.contains("panicked") && !stderr.contains("error"),
            "{args}: {stderr}"
        );
        let (code, stderr) = shell(&args, "> /dev/full");
        assert!(
            code == Some(1)
                && stderr.contains("cannot write to the standard output: No space left"),
            "{args}: {stderr}"
        );
        assert!(!stderr.contains("panicked"), "{args}: {stderr}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_writes_its_files_though_nobody_reads() {
    let model = tiny();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let args = format!("classify --model '{model}' --out '{}'", out.display());
    // Both streams are full, then both are closed pipes.
    let (code, _) = shell(&args, "> /dev/full 2> /dev/full");
    assert_eq!(code, Some(1));
    assert!(out.join("classes.json").exists());
    let args = format!("{args} --force");
    std::fs::remove_file(out.join("neurons.parquet")).ok();
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let line = format!(
        "{{ '{}' {args}; echo $? > '{}/code'; }} 2>&1 | true",
        binary.display(),
        dir.path().display()
    );
    Command::new("sh").args(["-c", &line]).status().unwrap();
    let code = std::fs::read_to_string(dir.path().join("code")).unwrap();
    assert_eq!(code.trim(), "0");
    assert!(out.join("neurons.parquet").exists());
}

/// No character of `text` moves a cursor, hides or turns what is beside it.
fn assert_shows(text: &str, what: &str) {
    let bad = |c: &char| {
        (c.is_control() && *c != '\n' && *c != '\t')
            || "\u{202e}\u{200b}\u{2066}\u{fffe}".contains(*c)
    };
    assert_eq!(text.chars().find(bad), None, "{what}: {text:?}");
}

#[test]
#[cfg(unix)]
fn foreign_characters_are_shown_and_not_sent() {
    const BAD: &str = "a\u{1b}[31m\u{7}\u{9b}2J\u{202e}\u{200b}b";
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join(format!("model{BAD}"));
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(std::path::Path::new(&tiny()).join(name), model.join(name)).unwrap();
    }
    let model = model.to_str().unwrap();
    let neurons = file(&dir, &format!("class{BAD}.txt"), "0.1\n1.2\n2.3\n3.4\n");
    let prompt = |id: &str, text: &str| serde_json::json!({"id": id, "prompt": text, "subject": BAD, "target": "x"});
    let prompts = [
        prompt(BAD, &format!("The {BAD} is")),
        prompt("two", &format!("A {BAD} was")),
    ];
    let prompts = prompts.map(|prompt| prompt.to_string()).join("\n");
    let prompts = file(&dir, &format!("prompts{BAD}.jsonl"), &prompts);
    let out = dir.path().join(format!("out{BAD}"));
    let binary = assert_cmd::cargo::cargo_bin!("gatelens");
    let run = |args: &[&str]| {
        let output = Command::new(binary).args(args).output().unwrap();
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_shows(&stdout, &format!("{args:?} stdout"));
        assert_shows(&stderr, &format!("{args:?} stderr"));
        (output.status.code(), stdout, stderr)
    };
    let edit = [
        "--model",
        model,
        "--neurons",
        &neurons,
        "--prompts",
        &prompts,
        "--subset",
        "all",
        "--draws",
        "2",
    ];
    let (code, stdout, stderr) =
        run(&[&["sweep", "--out", out.to_str().unwrap()], &edit[..]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("\\u{1b}[31m\\u{7}\\u{9b}2J\\u{202e}\\u{200b}"),
        "{stdout}"
    );
    let (code, ..) = run(&["report", out.to_str().unwrap()]);
    assert_eq!(code, Some(0));
    for name in ["heat_map.svg", "report.html"] {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        assert_shows(&text, name);
        assert!(text.contains("\\u{1b}"), "{name}");
    }
    for args in [
        vec![
            "generate",
            "--model",
            model,
            "--prompt",
            BAD,
            "--max-tokens",
            "2",
        ],
        vec![
            "generate",
            "--model",
            model,
            "--prompt",
            BAD,
            "--max-tokens",
            "2",
            "--neurons",
            &neurons,
            "--compare",
        ],
        vec!["neuron", "0.1", "--model", model, "--prompts", &prompts],
        vec!["ablate", "--mode", BAD],
        vec!["ablate", "--model", BAD],
        vec!["ablate", "--neurons", BAD],
        vec![BAD],
        vec!["report", BAD],
        vec!["inspect", model],
    ] {
        run(&args);
    }
    let (_, stdout, _) = run(&[
        "generate",
        "--model",
        model,
        "--prompt",
        BAD,
        "--max-tokens",
        "2",
        "--json",
    ]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["prompt"], BAD);
}
