//! A neuron in a folder that `record` wrote.

use super::super::edit_args::warn_if_unchecked;
use super::NeuronArgs;
use super::seen::{Occurrence, Recorded, Seen, Values, visible};
use crate::experiment::record::TOP_TOKENS;
use crate::hub::LocatedModel;
use crate::report::rows::TopTokensRow;
use crate::report::{Reading, RecordedFolder, ReportError};
use crate::tokens::Tokenizer;

/// What the folder holds of the neuron; the model and tokenizer must be those that were recorded.
pub(super) fn read(
    args: &NeuronArgs,
    folder: &RecordedFolder,
    located: &LocatedModel,
    tokenizer: &Tokenizer,
) -> anyhow::Result<Seen> {
    folder.check(&located.sha256()?, tokenizer.sha256())?;
    let fold = args.class.fold.to_string();
    folder.check_settings(&Reading {
        fold: Some(&fold),
        ..Reading::default()
    })?;
    warn_if_unchecked(folder);
    let neuron = folder.neuron(args.neuron)?;
    if args.top > TOP_TOKENS {
        notice!(
            "warning: --top {} is more than a recording holds of a neuron: its {TOP_TOKENS} strongest tokens",
            args.top
        );
    }
    let strongest = neuron.strongest.iter().take(args.top);
    Ok(Seen {
        texts: folder.input(),
        recorded: Some(Recorded {
            folder: folder.path().display().to_string(),
            positions: folder.positions().to_string(),
        }),
        statistics: neuron.statistics,
        strongest: strongest
            .map(|row| occurrence(row, folder.around(row)?))
            .collect::<Result<_, ReportError>>()?,
    })
}

fn occurrence(row: &TopTokensRow, context: [&str; 3]) -> Result<Occurrence, ReportError> {
    let [before, token, after] = context.map(visible);
    Ok(Occurrence {
        id: row.prompt_id.clone(),
        values: Values::Recorded {
            position: row.position,
            post: row.value,
        },
        before,
        token,
        after,
    })
}
