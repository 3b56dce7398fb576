//! The whole page: what was run, then the blocks.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::report::RunInfo;
use crate::report::number::{Digits, count};
use crate::report::tone::variables;

const STYLE: &str = include_str!("style.css");

/// So many digits tell two hashes apart; `run.json` has all.
const HASH_DIGITS: usize = 16;

/// The page of a run. `passes`: how many of a stopped run are through, and of how many.
pub fn page(run: &RunInfo, passes: Option<(usize, usize)>, blocks: &[Markup]) -> String {
    let control = run.control.as_ref().map_or("", |_| " (control)");
    let title = format!("gatelens {}: {}{control}", run.command, run.model.id);
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
                    @if let Some(control) = &run.control { (control_banner(control)) }
                    @if !run.finished { (banner(run, passes)) }
                    (facts(run))
                }
                main { @for block in blocks { (block) } }
            }
        }
    };
    page.into_string()
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

/// A control looks like a result in everything else.
fn control_banner(control: &str) -> Markup {
    html! {
        p.banner role="note" {
            strong { "This is a control, no result about the model: " }
            (control) "."
        }
    }
}

/// What `run.json` says, in the order in which one asks.
fn facts(run: &RunInfo) -> Markup {
    let name = |path: &str| {
        path.rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .to_string()
    };
    let files = run.model.files.iter();
    let files = files.map(|file| format!("{} (sha256 {})", name(&file.path), digits(&file.sha256)));
    let files = files.collect::<Vec<_>>().join(", ");
    let read = run.prompts.iter().map(|set| ("prompts", set));
    let read = read.chain(run.texts.iter().map(|text| ("text", text)));
    html! {
        dl {
            div { dt { "model" } dd { (run.model.id) ", family " (run.model.family) br; small { (files) } } }
            div { dt { "command" } dd { code { (run.command_line()) } } }
            div { dt { "version" } dd { "gatelens " (run.version) } }
            div { dt { "fold" } dd { (run.fold) @if let Some(t) = run.threshold() { ", threshold " (t) } } }
            div { dt { "BOS" } dd { (run.bos.as_deref().unwrap_or("none: no text was read")) } }
            div { dt { "seed" } dd {
                @match run.seed { Some(seed) => (seed), None => "none: nothing is random" }
            } }
            @for (what, set) in read {
                div { dt { (what) } dd { (set.name) br; small { "sha256 " (digits(&set.sha256)) } } }
            }
            @if let Some(hash) = &run.tokenizer_sha256 {
                div { dt { "tokenizer" } dd { small { "sha256 " (digits(hash)) } } }
            }
            div { dt { "precision" } dd { (run.dtype) " on " (run.device) } }
            div { dt { "wall time" } dd { (seconds(run.wall_s)) } }
            div.whole { dt { "counts" } dd { (counts(&run.counts).as_deref().unwrap_or("none in run.json")) } }
        }
    }
}

fn digits(hash: &str) -> String {
    hash.chars().take(HASH_DIGITS).chain(['…']).collect()
}

fn seconds(seconds: f64) -> String {
    let (minutes, hours) = ((seconds / 60.0).floor(), (seconds / 3600.0).floor());
    match seconds as u64 {
        0..60 => format!("{seconds:.1}\u{a0}s"),
        60..3600 => format!("{minutes:.0}\u{a0}min {:02.0}\u{a0}s", seconds % 60.0),
        _ => format!(
            "{hours:.0}\u{a0}h {:02.0}\u{a0}min",
            seconds % 3600.0 / 60.0
        ),
    }
}

/// The numbers of `counts`, and those of its objects; lists and the rest are left to `run.json`.
fn counts(counts: &Value) -> Option<String> {
    let parts = counts.as_object()?.iter().filter_map(|(name, value)| {
        let name = name.replace('_', " ");
        let Some(inner) = value.as_object() else {
            return Some(format!("{name} {}", figure(value)?));
        };
        if let (Some(read), Some(of)) = (inner.get("read"), inner.get("of")) {
            return Some(format!("{name} {} of {}", figure(read)?, figure(of)?));
        }
        let named = inner.iter().filter_map(|(name, value)| {
            Some(format!("{} {}", name.replace('_', " "), figure(value)?))
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| format!("{name}: {}", named.join(", ")))
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn figure(value: &Value) -> Option<String> {
    match value.as_u64() {
        Some(whole) => Some(count(whole as usize)),
        None => value.as_f64().map(|number| Digits::Size.number(number)),
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
        let html = page(&run(true), None, &[]);
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
        let html = page(&run(false), Some((3, 1000)), &[]);
        assert!(
            html.contains("not finished") && html.contains("3 of 1,000 passes"),
            "{html}"
        );
        assert!(html.contains("jsonl' --resume"), "{html}");
    }

    #[test]
    fn times_by_hand() {
        let times = [7.26, 125.0, 7500.0].map(seconds);
        assert_eq!(
            times,
            ["7.3\u{a0}s", "2\u{a0}min 05\u{a0}s", "2\u{a0}h 05\u{a0}min"]
        );
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        let html = page(&run(true), None, &[]);
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
