//! A neuron in a folder that `record` wrote.

use super::super::edit_args::warn_if_unchecked;
use super::NeuronArgs;
use super::seen::{Occurrence, Recorded, Seen, Values, visible};
use crate::experiment::record::TOP_TOKENS;
use crate::hub::LocatedModel;
use crate::report::{Reading, RecordedFolder, RecordedToken};
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
    let strongest = neuron.strongest.into_iter().take(args.top);
    Ok(Seen {
        texts: folder.input(),
        recorded: Some(Recorded {
            folder: folder.path().display().to_string(),
            positions: folder.positions().to_string(),
        }),
        statistics: neuron.statistics,
        strongest: strongest.map(occurrence).collect(),
    })
}

fn occurrence(token: RecordedToken) -> Occurrence {
    Occurrence {
        id: token.prompt_id,
        values: Values::Recorded {
            position: token.position,
            post: token.post,
        },
        before: visible(&token.before),
        token: visible(&token.token),
        after: visible(&token.after),
    }
}
