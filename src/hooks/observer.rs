//! Observers read the rows of a site; they cannot change anything.

use std::collections::HashMap;

use super::site::{HookError, HookPoint};

/// The rows of one site, as the engine computed them for one stream.
pub struct SiteRows<'a> {
    /// Which site, at which layer.
    pub point: HookPoint,
    /// The conditions that share these rows, ascending.
    pub conditions: &'a [usize],
    /// `[tokens, width]`, row-major, in the batch's row order; or the rows and columns that the observer
    /// [selects](Observer::selects), in its order.
    pub rows: &'a [f32],
    /// Values per token.
    pub width: usize,
}

/// What of a site an observer reads. The rest need not be copied, nor leave a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'s> {
    /// The batch's rows, in any order; `None`: all of them.
    pub rows: Option<&'s [usize]>,
    /// The columns, in any order; `None`: all of them.
    pub columns: Option<&'s [u32]>,
}

impl<'s> Selection<'s> {
    /// These columns of all rows.
    pub fn columns(columns: &'s [u32]) -> Self {
        Self {
            rows: None,
            columns: Some(columns),
        }
    }

    /// These rows, whole.
    pub fn rows(rows: &'s [usize]) -> Self {
        Self {
            rows: Some(rows),
            columns: None,
        }
    }

    /// Whether it is the site as it is.
    pub fn is_all(self) -> bool {
        self.rows.is_none() && self.columns.is_none()
    }
}

impl<'a> SiteRows<'a> {
    /// Row `row` of a site that should be `width` wide.
    ///
    /// # Errors
    /// [`HookError::OtherRows`] where there is no such row.
    pub fn row(&self, row: usize, width: usize) -> Result<&'a [f32], HookError> {
        let of = self.rows.chunks_exact(self.width.max(1));
        of.clone()
            .nth(row)
            .filter(|row| row.len() == width)
            .ok_or_else(|| HookError::OtherRows {
                name: self.point.to_string(),
                row,
                width,
                found: (of.len(), self.width),
            })
    }
}

/// What stops a reader, and with it the run: anything, such as a full disk.
pub type ReadError = Box<dyn std::error::Error + Send + Sync>;

/// Something that reads sites while the engine runs. Sites of one layer arrive in the order of
/// [`Site::ALL`](super::Site::ALL), layers in ascending order.
pub trait Observer {
    /// Whether [`observe`](Self::observe) wants to see this site. Sites that nobody wants cost nothing.
    fn wants(&self, point: HookPoint) -> bool;

    /// What of a wanted site it is shown.
    fn selects(&self, point: HookPoint) -> Selection<'_> {
        let _ = point;
        Selection::default()
    }

    /// Sites that it was asked for by name: one that the model does not have is an error before the run.
    fn asked_for(&self) -> &[HookPoint] {
        &[]
    }

    /// Sees what it selects of a wanted site, once per stream.
    ///
    /// # Errors
    /// Whatever keeps it from going on; the run stops there, with the engine's `EngineError::Reader`.
    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError>;
}

/// Keeps the rows of the sites that were asked for.
#[derive(Default)]
pub struct Recorder {
    wanted: Vec<HookPoint>,
    kept: HashMap<(HookPoint, usize), Vec<f32>>,
}

impl Recorder {
    /// A recorder of the given sites, under every condition.
    pub fn new(wanted: impl IntoIterator<Item = HookPoint>) -> Self {
        Self {
            wanted: wanted.into_iter().collect(),
            kept: HashMap::new(),
        }
    }

    /// The rows `[tokens, width]` of a site under a condition; an error if they were never produced.
    pub fn rows(&self, point: HookPoint, condition: usize) -> Result<&[f32], HookError> {
        self.kept
            .get(&(point, condition))
            .map(Vec::as_slice)
            .ok_or_else(|| HookError::NotRecorded {
                name: point.to_string(),
                condition,
            })
    }
}

impl Observer for Recorder {
    fn wants(&self, point: HookPoint) -> bool {
        self.wanted.contains(&point)
    }

    fn asked_for(&self) -> &[HookPoint] {
        &self.wanted
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        for &condition in seen.conditions {
            self.kept
                .insert((seen.point, condition), seen.rows.to_vec());
        }
        Ok(())
    }
}
