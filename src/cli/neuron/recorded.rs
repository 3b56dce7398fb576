//! A neuron in a folder that `record` wrote.

use super::where_it_fires::{Occurrence, Recorded, Values, WhereItFires, visible};
use crate::experiment::record::TOP_TOKENS;
use crate::hooks::Neuron;
use crate::report::{RecordedFolder, ReportError};

/// What the folder holds of the neuron, with the `top` strongest tokens.
pub(super) fn read(
    folder: &RecordedFolder,
    neuron: Neuron,
    top: usize,
) -> Result<WhereItFires, ReportError> {
    let recorded = folder.neuron(neuron)?;
    if top > TOP_TOKENS {
        notice!(
            "warning: --top {top} is more than a recording holds of a neuron: its {TOP_TOKENS} strongest tokens"
        );
    }
    let strongest = recorded.strongest.iter().take(top).map(|row| {
        let [before, token, after] = folder.around(row)?.map(visible);
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
    });
    Ok(WhereItFires {
        texts: folder.input(),
        recorded: Some(Recorded {
            folder: folder.path().display().to_string(),
            positions: folder.positions().to_string(),
        }),
        statistics: recorded.statistics,
        strongest: strongest.collect::<Result<_, ReportError>>()?,
    })
}
