//! Which layers attend through a window.

use crate::hub::gguf::Value;
use crate::model::ModelError;
use crate::model::kinds::Windows;

use super::metadata::Metadata;

const WINDOW: &str = "attention.sliding_window";
const PATTERN: &str = "attention.sliding_window_pattern";

/// llama.cpp's window of Gemma 2, for the first files, which have none.
const GEMMA2_WINDOW: usize = 4096;

const NO_WINDOW_IN_FILE: &str = "GGUF files of Mistral do not hold the sliding window: none, as in llama.cpp; \
    prompts longer than the window (4,096 tokens in Mistral 7B v0.1) differ from transformers";

/// The window of the layers that have one; 0 and absence both say that there is none.
pub(super) fn window(metadata: &mut Metadata) -> Result<Option<usize>, ModelError> {
    if metadata.family.gguf_arch == "llama" {
        let name = metadata.header.metadata.get("general.name");
        let name = name.and_then(|name| name.text());
        if name.is_some_and(|name| name.to_lowercase().contains("mistral")) {
            metadata.assumed.push(NO_WINDOW_IN_FILE.to_string());
        }
    }
    let window = metadata.optional_number(WINDOW)?;
    match (metadata.family.windows, window) {
        // Gemma 2 has its windows in any case.
        (Windows::AllButEvery(2), Some(0)) => Err(metadata.unsupported(WINDOW, "0", "at least 1")),
        (_, Some(0)) => Ok(None),
        (Windows::Never | Windows::FromLayer, Some(window)) => {
            let accepted = format!(
                "0, or no such key, in the architecture {}",
                metadata.family.gguf_arch
            );
            Err(metadata.unsupported(WINDOW, &window.to_string(), &accepted))
        }
        (Windows::AllButEvery(2), None) => {
            metadata.assume(WINDOW, GEMMA2_WINDOW);
            Ok(Some(GEMMA2_WINDOW))
        }
        (Windows::AllButEvery(_), None) => {
            metadata.assume(WINDOW, "no windows");
            Ok(None)
        }
        (_, window) => Ok(window),
    }
}

/// The pattern's key holds a period, or one flag per layer; in a period of n the last layer has no window.
pub(super) fn windowed_layers(
    metadata: &Metadata,
    n_layers: usize,
    window: Option<usize>,
) -> Result<Vec<bool>, ModelError> {
    let Some(_) = window else {
        return Ok(vec![false; n_layers]);
    };
    let Windows::AllButEvery(period) = metadata.family.windows else {
        return match metadata.optional(PATTERN) {
            None => Ok(vec![true; n_layers]),
            Some(value) => Err(metadata.unsupported(PATTERN, &value.to_string(), "no such key")),
        };
    };
    let period = match metadata.optional(PATTERN) {
        None => period,
        Some(value) if value.is_array() => {
            let flags = flags(value).filter(|flags| flags.len() == n_layers);
            return flags.ok_or_else(|| {
                let accepted = format!("a period, or {n_layers} flags");
                metadata.unsupported(PATTERN, &value.to_string(), &accepted)
            });
        }
        Some(value) => metadata.to_number(PATTERN, value)?,
    };
    // Period 0 is llama.cpp's for windows everywhere.
    Ok((1..=n_layers)
        .map(|l| period == 0 || l % period != 0)
        .collect())
}

fn flags(value: &Value) -> Option<Vec<bool>> {
    let numbers = || Some(value.each_integer()?.map(|number| number != 0).collect());
    value.flags().or_else(numbers)
}
