//! What a recording holds in memory, as bytes, so that a stopped one goes on with the same numbers to the last
//! bit: the arrays one after the other, little-endian, in the order in which they are visited.

/// An array of numbers that belongs to the state.
pub(super) enum Field<'a> {
    /// Counts and rows.
    U64(&'a mut [u64]),
    /// Sums.
    F64(&'a mut [f64]),
    /// Activations.
    F32(&'a mut [f32]),
}

/// Shows all that it would need to go on, always in the same order.
pub(super) trait Stateful {
    /// Calls `visit` with every array.
    fn visit(&mut self, visit: &mut dyn FnMut(Field<'_>));
}

/// Bytes that the numbers take.
pub(super) fn size(state: &mut dyn Stateful) -> u64 {
    let mut bytes = 0;
    state.visit(&mut |field| {
        bytes += match field {
            Field::U64(values) => size_of_val(values),
            Field::F64(values) => size_of_val(values),
            Field::F32(values) => size_of_val(values),
        }
    });
    bytes as u64
}

/// The state as bytes.
pub(super) fn to_bytes(state: &mut dyn Stateful) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.visit(&mut |field| match field {
        Field::U64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
        Field::F64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
        Field::F32(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
    });
    bytes
}

/// Sets the state from bytes; `None` where they are not those of a state of this size.
pub(super) fn from_bytes(state: &mut dyn Stateful, bytes: &[u8]) -> Option<()> {
    let mut left = Some(bytes);
    state.visit(&mut |field| match field {
        Field::U64(values) => take(values, &mut left, u64::from_le_bytes),
        Field::F64(values) => take(values, &mut left, f64::from_le_bytes),
        Field::F32(values) => take(values, &mut left, f32::from_le_bytes),
    });
    left.filter(|left| left.is_empty()).map(|_| ())
}

fn take<T, const N: usize>(values: &mut [T], left: &mut Option<&[u8]>, read: fn([u8; N]) -> T) {
    for value in values {
        let split = left.and_then(|left| left.split_first_chunk::<N>());
        if let Some((bytes, _)) = split {
            *value = read(*bytes);
        }
        *left = split.map(|(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, PartialEq, Debug, Clone)]
    struct Mixed {
        counts: [u64; 3],
        sums: Vec<f64>,
        largest: [f32; 1],
    }

    impl Stateful for Mixed {
        fn visit(&mut self, visit: &mut dyn FnMut(Field<'_>)) {
            visit(Field::U64(&mut self.counts));
            visit(Field::F64(&mut self.sums));
            visit(Field::F32(&mut self.largest));
        }
    }

    #[test]
    fn bytes_come_back_and_others_are_refused() {
        let mut mixed = Mixed {
            counts: [1, u64::MAX, 0],
            sums: vec![0.1, -0.0],
            largest: [f32::MIN_POSITIVE],
        };
        let bytes = to_bytes(&mut mixed);
        assert_eq!(bytes.len(), 3 * 8 + 2 * 8 + 4);
        assert_eq!(size(&mut mixed), bytes.len() as u64);
        let mut empty = Mixed {
            sums: vec![0.0; 2],
            ..Mixed::default()
        };
        assert_eq!(from_bytes(&mut empty.clone(), &bytes[1..]), None);
        assert_eq!(
            from_bytes(&mut empty.clone(), &[&bytes[..], &[0]].concat()),
            None
        );
        assert_eq!(from_bytes(&mut empty, &bytes), Some(()));
        assert_eq!(empty, mixed);
    }
}
