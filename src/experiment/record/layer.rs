//! One layer of a pass at a time: `gate`, `up` and `post` together, for whoever wants to read them.

use std::ops::Range;

use super::input::RecordedRows;
use crate::hooks::{HookPoint, Observer, ReadError, Site, SiteRows};

/// The MLP of one layer on the tokens of one pass. Each slice is `[tokens of the batch, d_mlp]`, row-major, in the
/// order of the batch; [`RecordedRows`] tell which of them are recorded.
pub struct LayerRows<'a> {
    /// The layer.
    pub layer: usize,
    /// d_mlp.
    pub width: usize,
    /// `hook_pre`.
    pub gate: &'a [f32],
    /// `hook_pre_linear`.
    pub up: &'a [f32],
    /// `hook_post`.
    pub post: &'a [f32],
}

impl LayerRows<'_> {
    /// `gate`, `up` and `post` of some neurons at a row of the batch.
    #[inline(always)]
    pub fn at(&self, packed: usize, neurons: Range<usize>) -> [&[f32]; 3] {
        let at = packed * self.width + neurons.start..packed * self.width + neurons.end;
        [&self.gate[at.clone()], &self.up[at.clone()], &self.post[at]]
    }
}

/// Reads the layers of a pass as the engine goes through them.
pub trait LayerReader {
    /// Sees one layer.
    ///
    /// # Errors
    /// Whatever stops the recording, such as a full disk.
    fn read(&mut self, rows: &LayerRows<'_>, recorded: &RecordedRows) -> Result<(), ReadError>;
}

/// Joins the three sites of a layer for its readers.
pub(super) struct MlpObserver<'a, 'r> {
    layers: Range<usize>,
    recorded: &'a RecordedRows,
    gate: Vec<f32>,
    up: Vec<f32>,
    readers: Vec<&'r mut dyn LayerReader>,
}

impl<'a, 'r> MlpObserver<'a, 'r> {
    pub fn new(
        layers: Range<usize>,
        recorded: &'a RecordedRows,
        readers: Vec<&'r mut dyn LayerReader>,
    ) -> Self {
        Self {
            layers,
            recorded,
            gate: Vec::new(),
            up: Vec::new(),
            readers,
        }
    }

    fn read(&mut self, layer: usize, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        let rows = LayerRows {
            layer,
            width: seen.width,
            gate: &self.gate,
            up: &self.up,
            post: seen.rows,
        };
        let recorded = self.recorded;
        let mut readers = self.readers.iter_mut();
        readers.try_for_each(|reader| reader.read(&rows, recorded))
    }
}

fn keep(kept: &mut Vec<f32>, rows: &[f32]) {
    kept.clear();
    kept.extend_from_slice(rows);
}

impl Observer for MlpObserver<'_, '_> {
    fn wants(&self, point: HookPoint) -> bool {
        let is_mlp = matches!(point.site, Site::Pre | Site::PreLinear | Site::Post);
        is_mlp
            && point
                .layer
                .is_some_and(|layer| self.layers.contains(&layer))
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        match (seen.point.site, seen.point.layer) {
            (Site::Pre, _) => keep(&mut self.gate, seen.rows),
            (Site::PreLinear, _) => keep(&mut self.up, seen.rows),
            (Site::Post, Some(layer)) => self.read(layer, seen)?,
            _ => {}
        }
        Ok(())
    }
}
