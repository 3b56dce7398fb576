//! JSON whose structure changes: each key and item in turn is taken away, doubled, given another type, an extreme number
//! or a deep nest. Bytes changed at random (`bytes`) mostly break the syntax; these files are all well-formed.

use serde_json::{Value, json};

/// What becomes of one key or item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Removed,
    /// Its name with a letter more.
    Renamed,
    /// The key stands a second time, with another value.
    Doubled,
    /// A value of another type.
    Retyped,
    /// A number that lengths and arithmetic break at.
    Extreme,
    /// An array in arrays, 100 or 100,000 deep.
    Nested(usize),
}

/// A changed text, with where and how for messages.
pub struct Case {
    pub text: String,
    pub path: Vec<String>,
    pub change: Change,
    pub value: String,
    pub old: Value,
}

impl Case {
    /// The last part of the way.
    pub fn key(&self) -> &str {
        self.path.last().unwrap()
    }

    pub fn label(&self) -> String {
        format!("{} {:?} {}", self.path.join("/"), self.change, self.value)
    }
}

/// Stands for what is put into the text after it is serialized: serde_json has no way to say it.
const MARK: &str = "\"@gatelens-mark@\"";

const EXTREMES: [&str; 9] = [
    "0",
    "-1",
    "1",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e-320",
    "2.5",
];

/// Every change of every key and item of `whole`, at most `items` items of each list.
pub fn cases(whole: &Value, items: usize) -> Vec<Case> {
    let mut found = Vec::new();
    let mut paths = Vec::new();
    walk(whole, &mut Vec::new(), items, &mut paths);
    for path in paths {
        let old = at(&mut whole.clone(), &path).clone();
        let mut add = |change, text: String, value: &str| {
            found.push(Case {
                text,
                path: path.clone(),
                change,
                value: value.to_string(),
                old: old.clone(),
            });
        };
        let (parent, last) = (&path[..path.len() - 1], path.last().unwrap());
        let mut new = whole.clone();
        match at(&mut new, parent) {
            Value::Object(map) => {
                map.remove(last);
                add(Change::Removed, new.to_string(), "");
                let mut new = whole.clone();
                let map = at(&mut new, parent).as_object_mut().unwrap();
                map.remove(last);
                map.insert(format!("{last}x"), old.clone());
                add(Change::Renamed, new.to_string(), "");
                let mut new = whole.clone();
                *at(&mut new, &path) = json!("@gatelens-mark@");
                let key = Value::from(last.as_str());
                let doubled = format!("{old},{key}:null");
                add(
                    Change::Doubled,
                    new.to_string().replacen(MARK, &doubled, 1),
                    &doubled[..doubled.len().min(40)],
                );
            }
            Value::Array(list) => {
                list.remove(last.parse().unwrap());
                add(Change::Removed, new.to_string(), "");
            }
            _ => unreachable!("only these hold others"),
        }
        let mut put = |change, value: &str| {
            let mut new = whole.clone();
            *at(&mut new, &path) = json!("@gatelens-mark@");
            add(
                change,
                new.to_string().replacen(MARK, value, 1),
                &value[..value.len().min(40)],
            );
        };
        for other in ["null", "true", "\"x\"", "[]", "{}", "7", "[1]", "{\"a\":1}"] {
            let value: Value = serde_json::from_str(other).unwrap();
            if std::mem::discriminant(&value) != std::mem::discriminant(&old) {
                put(Change::Retyped, other);
            }
        }
        if old.is_number() {
            put(Change::Retyped, &format!("\"{old}\""));
            let old = old.to_string();
            for extreme in EXTREMES.into_iter().filter(|extreme| *extreme != old) {
                put(Change::Extreme, extreme);
            }
        }
        for depth in [100, 100_000] {
            put(
                Change::Nested(depth),
                &format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
            );
        }
    }
    found
}

fn walk(value: &Value, way: &mut Vec<String>, items: usize, paths: &mut Vec<Vec<String>>) {
    let keys: Vec<String> = match value {
        Value::Object(map) => map.keys().take(items.max(64)).cloned().collect(),
        Value::Array(list) => (0..list.len().min(items)).map(|i| i.to_string()).collect(),
        _ => return,
    };
    for key in keys {
        way.push(key);
        paths.push(way.clone());
        let mut copy = value.clone();
        walk(at(&mut copy, &way[way.len() - 1..]), way, items, paths);
        way.pop();
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, key| match value {
        Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        Value::Object(map) => map.get_mut(key).unwrap(),
        _ => unreachable!("a path of this value"),
    })
}
