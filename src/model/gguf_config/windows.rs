//! Which layers attend through a window.

use serde_json::Value;

use crate::model::config_keys::{WINDOW, WINDOW_PATTERN};
use crate::model::error::ModelError;
use crate::model::kinds::Windows;
use crate::model::reading::Reading;

/// llama.cpp's window of Gemma 2, for the first files, which have none.
const GEMMA2_WINDOW: usize = 4096;

const NO_WINDOW_IN_FILE: &str = "GGUF files of Mistral do not hold the sliding window: none, as in llama.cpp; \
    prompts longer than the window (4,096 tokens in Mistral 7B v0.1) differ from transformers";

/// The window of the layers that have one; 0 and absence both say that there is none. `name` is the model's.
pub(super) fn window(reading: &mut Reading, name: &str) -> Result<Option<usize>, ModelError> {
    let arch = reading.family.gguf_arch;
    if arch == "llama" && name.to_lowercase().contains("mistral") {
        reading.assumed.push(NO_WINDOW_IN_FILE.to_string());
    }
    let key = WINDOW.gguf;
    match (reading.family.windows, reading.keys.length(key)?) {
        // Gemma 2 has its windows in any case.
        (Windows::AllButEvery(2), Some(0)) => Err(reading.keys.refused(key, 0, "at least 1")),
        (_, Some(0)) => Ok(None),
        (Windows::Never | Windows::FromLayer, Some(window)) => {
            let accepted = format!("0, or no such key, in the architecture {arch}");
            Err(reading.keys.refused(key, window, &accepted))
        }
        (Windows::AllButEvery(2), None) => {
            reading.assume(key, GEMMA2_WINDOW);
            Ok(Some(GEMMA2_WINDOW))
        }
        (Windows::AllButEvery(_), None) => {
            reading.assume(key, "no windows");
            Ok(None)
        }
        (_, window) => Ok(window),
    }
}

/// The pattern's key holds a period, or one flag per layer; in a period of n the last layer has no window.
pub(super) fn windowed_layers(
    reading: &Reading,
    n_layers: usize,
    window: Option<usize>,
) -> Result<Vec<bool>, ModelError> {
    let (keys, key) = (&reading.keys, WINDOW_PATTERN.gguf);
    let period = match (reading.family.windows, keys.value(key)) {
        _ if window.is_none() => return Ok(vec![false; n_layers]),
        (Windows::AllButEvery(period), None) => period,
        (Windows::AllButEvery(_), Some(Value::Array(flags))) => {
            let flag = |flag: &Value| flag.as_bool().or(Some(flag.as_i64()? != 0));
            let flags: Option<Vec<bool>> = flags.iter().map(flag).collect();
            let accepted = format!("a period, or {n_layers} flags");
            return flags
                .filter(|flags| flags.len() == n_layers)
                .ok_or_else(|| keys.refused(key, "an array", &accepted));
        }
        (Windows::AllButEvery(_), Some(_)) => keys.length(key)?.unwrap_or(0),
        (_, None) => return Ok(vec![true; n_layers]),
        (_, Some(value)) => return Err(keys.refused(key, value, "no such key")),
    };
    Ok(Windows::all_but_every(period, n_layers))
}
