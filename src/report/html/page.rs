//! The whole page: what was run, then the blocks.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::block::Block;
use super::words::{count, number, seconds};
use crate::report::tone::variables;
use crate::report::{PromptSetInfo, ReportError, RunInfo};

const STYLE: &str = include_str!("style.css");

/// So many digits tell two hashes apart; `run.json` has all.
const HASH_DIGITS: usize = 16;

/// The page of a run. `passes`: how many of a stopped run are through, and of how many.
///
/// # Errors
/// Those of the drawing library.
pub fn page(
    run: &RunInfo,
    passes: Option<(usize, usize)>,
    blocks: &[Block],
) -> Result<String, ReportError> {
    let title = format!("gatelens {}: {}", run.command, run.model.id);
    let command = run.command_line();
    let blocks = blocks.iter().map(|block| block.html(&command));
    let blocks: Vec<Markup> = blocks.collect::<Result<_, _>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing is fetched and nothing runs, whatever names the files of the run hold.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(style())) }
            }
            body {
                header {
                    h1 { (title) }
                    @if !run.finished { (banner(run, passes)) }
                    dl { @for (name, value) in facts(run) {
                        div.whole[name == "counts"] { dt { (name) } dd { (value) } }
                    } }
                }
                main { @for block in &blocks { (block) } }
            }
        }
    };
    Ok(page.into_string())
}

fn style() -> String {
    let [light, dark] = variables();
    format!(
        ":root{{{light}--page:#f3f4f6;color-scheme:light dark}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}--page:#0f1215}}}}\n{STYLE}"
    )
}

fn banner(run: &RunInfo, passes: Option<(usize, usize)>) -> Markup {
    let through =
        passes.map(|(done, of)| format!(" after {} of {} passes", count(done), count(of)));
    html! {
        p.banner role="note" {
            strong { "This run is not finished." }
            " It was stopped" (through.unwrap_or_default()) "; what is below is what it left. It goes on with "
            code { (run.resume_line()) }
        }
    }
}

/// What `run.json` says, in the order in which one asks.
fn facts(run: &RunInfo) -> Vec<(&'static str, Markup)> {
    let files = run.model.files.iter().map(|file| {
        let name = file.path.rsplit(['/', '\\']).next().unwrap_or_default();
        format!("{name} (sha256 {})", digits(&file.sha256))
    });
    let files = files.collect::<Vec<_>>().join(", ");
    let mut facts = vec![
        (
            "model",
            html! { (run.model.id) ", family " (run.model.family) br; small { (files) } },
        ),
        ("command", html! { code { (run.command_line()) } }),
        ("version", html! { "gatelens " (run.version) }),
        (
            "fold",
            html! { (run.fold) @if let Some(t) = run.threshold() { ", threshold " (t) } },
        ),
        ("BOS", words(run.bos.as_deref(), "no text was read")),
        (
            "seed",
            words(
                run.seed.map(|seed| seed.to_string()).as_deref(),
                "nothing is random",
            ),
        ),
    ];
    facts.extend(sources(run).into_iter().map(|(what, set)| {
        (
            what,
            html! { (set.name) br; small { "sha256 " (digits(&set.sha256)) } },
        )
    }));
    if let Some(hash) = &run.tokenizer_sha256 {
        facts.push(("tokenizer", html! { small { "sha256 " (digits(hash)) } }));
    }
    facts.push(("precision", html! { (run.dtype) " on " (run.device) }));
    facts.push(("wall time", html! { (seconds(run.wall_s)) }));
    facts.push(("counts", html! { (counts(&run.counts)) }));
    facts
}

fn words(value: Option<&str>, absent: &str) -> Markup {
    html! { @match value { Some(value) => (value), None => { "none: " (absent) } } }
}

fn sources(run: &RunInfo) -> Vec<(&'static str, &PromptSetInfo)> {
    let prompts = run.prompts.iter().map(|set| ("prompts", set));
    prompts
        .chain(run.texts.iter().map(|text| ("text", text)))
        .collect()
}

fn digits(hash: &str) -> String {
    let digits: String = hash.chars().take(HASH_DIGITS).collect();
    format!("{digits}…")
}

/// The numbers of `counts`, and those of its objects; lists and the rest are left to `run.json`.
fn counts(counts: &Value) -> String {
    let empty = serde_json::Map::new();
    let entries = counts.as_object().unwrap_or(&empty).iter();
    let parts = entries.filter_map(|(name, value)| {
        let name = name.replace('_', " ");
        match value {
            Value::Object(inner) => inner_counts(&name, inner),
            value => Some(format!("{name} {}", figure(value)?)),
        }
    });
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => "none in run.json".to_string(),
        false => parts.join("; "),
    }
}

fn inner_counts(name: &str, inner: &serde_json::Map<String, Value>) -> Option<String> {
    if let (Some(read), Some(of)) = (inner.get("read"), inner.get("of")) {
        return Some(format!("{name} {} of {}", figure(read)?, figure(of)?));
    }
    let counts = inner.iter().filter_map(|(name, value)| {
        let name = name.replace('_', " ");
        Some(format!("{name} {}", figure(value)?))
    });
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| format!("{name}: {}", counts.join(", ")))
}

fn figure(value: &Value) -> Option<String> {
    match value.as_u64() {
        Some(whole) => Some(count(whole as usize)),
        None => value.as_f64().map(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(finished: bool) -> RunInfo {
        let run = json!({
            "command": "ablate", "arguments": ["ablate", "--prompts", "<my facts>.jsonl", "--resume"],
            "settings": {"threshold": 0.5f32}, "version": "0.1.0",
            "model": {"id": "<b>m</b>", "family": "llama", "files": [{"path": "/a/m.gguf", "sha256": "0123456789abcdef01"}]},
            "dtype": "f32", "device": "cpu", "fold": "pre", "seed": 7,
            "prompts": {"name": "<i>p</i>", "sha256": "ff"},
            "finished": finished, "wall_s": 61.0,
            "counts": {"prompts": 1234, "tokens": {"of": 9, "read": 8}, "neurons": {"depletion": 5}, "known_by_relation": [1]},
        });
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn the_head_says_what_was_run_and_escapes_it() {
        let html = page(&run(true), None, &[]).unwrap();
        for part in [
            "<title>gatelens ablate: &lt;b&gt;m&lt;/b&gt;</title>",
            "gatelens ablate --prompts '&lt;my facts&gt;.jsonl'</code>",
            "m.gguf (sha256 0123456789abcdef…)",
            "pre, threshold 0.5",
            "none: no text was read",
            "&lt;i&gt;p&lt;/i&gt;",
            "neurons: depletion 5; prompts 1,234; tokens 8 of 9",
            "1\u{a0}min 01\u{a0}s",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(
            !html.contains("class=\"banner\"") && !html.contains("<b>m"),
            "{html}"
        );
    }

    #[test]
    fn a_stopped_run_says_so_first() {
        let html = page(&run(false), Some((3, 1000)), &[]).unwrap();
        assert!(
            html.contains("not finished") && html.contains("3 of 1,000 passes"),
            "{html}"
        );
        assert!(html.contains("jsonl' --resume"), "{html}");
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let html = page(&run(true), None, &[]).unwrap();
        for foreign in [
            "http://", "https://", "@import", "url(", "<script", "<link", "src=",
        ] {
            assert!(
                !html.replace("http-equiv", "").contains(foreign),
                "{foreign}"
            );
        }
    }
}
