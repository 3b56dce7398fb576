//! What two files of the same name do not share.

use serde::Serialize;

/// So many things that one side lacks are named.
const NAMED: usize = 8;

/// A value that two runs do not share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Of numbers the absolute difference; absent for what is no number.
    pub size: Option<f64>,
    /// Column and row (from 0), or the keys that lead to it.
    pub place: String,
    /// In the recorded run.
    pub recorded: String,
    /// In the rerun.
    pub again: String,
}

/// All that two files do not share.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Differences {
    /// How many values differ, of those that both have.
    pub values: usize,
    /// Of the numbers, the one that differs most.
    pub largest: Option<Difference>,
    /// Of what is no number, such as text or a missing value, the first.
    pub first_other: Option<Difference>,
    /// Rows, columns, keys and files that one of them lacks, and what else is wrong; the first of them.
    pub lacks: Vec<String>,
    /// How many more of these there are.
    pub lacks_more: usize,
}

impl Differences {
    /// One thing that is wrong.
    pub(super) fn of(what: String) -> Self {
        Self {
            lacks: vec![what],
            ..Self::default()
        }
    }

    /// Whether both are the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds something that one side lacks.
    pub(super) fn lack(&mut self, what: String) {
        match self.lacks.len() < NAMED {
            true => self.lacks.push(what),
            false => self.lacks_more += 1,
        }
    }

    /// Adds a value that differs; `value` says where it is and what both have, and is asked for where that is kept.
    pub(super) fn value(
        &mut self,
        numbers: Option<(f64, f64)>,
        value: impl FnOnce() -> [String; 3],
    ) {
        self.values += 1;
        // Without a size where one of them is infinite or no number: that counts as no number does.
        let size = numbers
            .map(|(a, b)| (a - b).abs())
            .filter(|size| size.is_finite());
        let kept = match size {
            Some(_) => &mut self.largest,
            None => &mut self.first_other,
        };
        let is_more = match &*kept {
            Some(earlier) => size > earlier.size,
            None => true,
        };
        if is_more {
            let [place, recorded, again] = value();
            *kept = Some(Difference {
                size,
                place,
                recorded,
                again,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_and_the_first_without_a_size_are_kept() {
        let mut found = Differences::default();
        let pairs = [
            Some((1.0, 1.5)),
            None,
            Some((2.0, f64::NAN)),
            Some((-1.0, 1.0)),
            Some((0.0, 0.1)),
        ];
        for (i, numbers) in pairs.into_iter().enumerate() {
            found.value(numbers, || {
                [format!("place {i}"), String::new(), String::new()]
            });
        }
        assert_eq!(found.values, 5);
        let largest = found.largest.unwrap();
        assert_eq!(
            (largest.size, largest.place.as_str()),
            (Some(2.0), "place 3")
        );
        assert_eq!(found.first_other.unwrap().place, "place 1");
    }

    #[test]
    fn not_everything_that_is_lacking_is_named() {
        let mut found = Differences::default();
        (0..20).for_each(|i| found.lack(i.to_string()));
        assert_eq!((found.lacks.len(), found.lacks_more), (8, 12));
        assert!(!found.is_empty() && Differences::default().is_empty());
    }
}
