//! JSON, value by value.

use std::fs;
use std::path::Path;

use serde_json::{Number, Value};

use super::Differences;

/// Compares two files of JSON.
pub fn compare_files(recorded: &Path, again: &Path) -> Result<Differences, String> {
    let read = |path: &Path| -> Result<Value, String> {
        let bytes = fs::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|why| format!("{}: {why}", path.display()))
    };
    Ok(compare(&read(recorded)?, &read(again)?))
}

/// Compares two values.
pub fn compare(recorded: &Value, again: &Value) -> Differences {
    let mut found = Differences::default();
    walk("", recorded, again, &mut found);
    found
}

fn walk(place: &str, recorded: &Value, again: &Value, found: &mut Differences) {
    match (recorded, again) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                let place = format!("{place}.{key}");
                match other.get(key) {
                    Some(again) => walk(&place, value, again, found),
                    None => found.lack(format!("the rerun lacks the key {}", shown(&place))),
                }
            }
            for key in other.keys().filter(|key| !one.contains_key(*key)) {
                let place = format!("{place}.{key}");
                found.lack(format!("the recorded run lacks the key {}", shown(&place)));
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for (i, (value, again)) in one.iter().zip(other).enumerate() {
                walk(&format!("{place}[{i}]"), value, again, found);
            }
            if one.len() != other.len() {
                found.lack(format!(
                    "{} has {} entries in the recorded run, and {} in the rerun",
                    shown(place),
                    one.len(),
                    other.len()
                ));
            }
        }
        (Value::Number(one), Value::Number(other)) if is_same(one, other) => {}
        (Value::Number(one), Value::Number(other)) => {
            let numbers = one.as_f64().zip(other.as_f64());
            found.value(numbers, || {
                [shown(place), one.to_string(), other.to_string()]
            });
        }
        (one, other) if one == other => {}
        (one, other) => {
            found.value(None, || [shown(place), one.to_string(), other.to_string()]);
        }
    }
}

/// To the last bit: 0 and -0 are not the same.
fn is_same(one: &Number, other: &Number) -> bool {
    let bits = |number: &Number| number.as_f64().map(f64::to_bits);
    one == other && bits(one) == bits(other)
}

/// The place without the point in front of it.
fn shown(place: &str) -> String {
    match place.trim_start_matches('.') {
        "" => "the whole".to_string(),
        place => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_largest_difference_is_found_by_its_keys() {
        let one = json!([{"a": 1.0, "b": {"c": [1, 2]}, "t": "x", "gone": 1}, 0.0]);
        let other = json!([{"a": 1.25, "b": {"c": [1, 7, 9]}, "t": "y", "new": 1}, -0.0]);
        let found = compare(&one, &other);
        assert_eq!(found.values, 4);
        let largest = found.largest.unwrap();
        assert_eq!(
            (largest.size, largest.place.as_str()),
            (Some(5.0), "[0].b.c[1]")
        );
        let text = found.first_other.unwrap();
        assert_eq!(
            (text.place.as_str(), text.again.as_str()),
            ("[0].t", "\"y\"")
        );
        let expected = [
            "[0].b.c has 2 entries in the recorded run, and 3 in the rerun",
            "the rerun lacks the key [0].gone",
            "the recorded run lacks the key [0].new",
        ];
        assert_eq!(found.lacks, expected);
        assert!(compare(&one, &one).is_empty());
    }
}
