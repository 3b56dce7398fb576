//! Weights in the order in which a run needs them, the next read from the files while the current one
//! is worked on.

use std::sync::mpsc::{Receiver, sync_channel};

use rayon::ThreadPoolBuilder;

use super::error::ModelError;

/// Layers, or blocks of the head, in order. Once one is asked for, the one before should be dropped:
/// then at most two are in memory, the current one and the next.
pub enum InOrder<T> {
    /// All are in memory.
    Held(std::vec::IntoIter<T>),
    /// Each is read from the files when its predecessor has been handed over; after an error no more.
    ReadAhead(Receiver<Result<T, ModelError>>),
}

impl<T: Send + 'static> InOrder<T> {
    /// Reads the items 0 to `count` by threads of their own, so that a wait for the disk holds up
    /// no computation.
    pub(super) fn read_ahead(
        count: usize,
        load: impl Fn(usize) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<Self, ModelError> {
        let readers = ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|i| format!("reader {i}"))
            .build()
            .map_err(candle_core::Error::wrap)?;
        // Without a buffer, sending waits until the item is asked for.
        let (sender, receiver) = sync_channel(0);
        readers.spawn(move || {
            for i in 0..count {
                let item = load(i);
                let failed = item.is_err();
                if sender.send(item).is_err() || failed {
                    return;
                }
            }
        });
        Ok(Self::ReadAhead(receiver))
    }
}

impl<T> Iterator for InOrder<T> {
    type Item = Result<T, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            InOrder::Held(items) => items.next().map(Ok),
            InOrder::ReadAhead(items) => items.recv().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn missing(name: &str) -> ModelError {
        ModelError::Unfit(format!("the checkpoint has no tensor {name}"))
    }

    #[test]
    fn items_come_in_order_and_one_is_read_ahead() {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = started.clone();
        let items = InOrder::read_ahead(5, move |i| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(i)
        });
        for (i, item) in items.unwrap().enumerate() {
            assert_eq!(item.unwrap(), i);
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(started.load(Ordering::SeqCst), (i + 2).min(5));
        }
    }

    #[test]
    fn an_error_surfaces_where_its_item_would_come() {
        let load = |i| if i == 2 { Err(missing("third")) } else { Ok(i) };
        let mut items = InOrder::read_ahead(4, load).unwrap();
        assert!(items.next().unwrap().is_ok() && items.next().unwrap().is_ok());
        let error = items.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("third"), "{error}");
        assert!(items.next().is_none());
    }

    #[test]
    fn a_run_that_stops_early_stops_the_reader() {
        let held = Arc::new(());
        let kept = held.clone();
        let items = InOrder::read_ahead(100, move |_| Ok(kept.clone())).unwrap();
        drop(items);
        for _ in 0..200 {
            if Arc::strong_count(&held) == 1 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the reader still runs");
    }
}
