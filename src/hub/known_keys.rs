//! A list of the keys of a kind of file, with what each may say: lines `rule: key key ...`, and comments behind `#`.

/// The text of such a list.
pub(crate) struct KnownKeys(pub &'static str);

impl KnownKeys {
    /// Every rule with its keys.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let rules = lines.filter_map(|line| line.split_once(": "));
        rules.flat_map(|(rule, keys)| keys.split(' ').map(move |key| (rule, key)))
    }

    /// The rule of a key; `None`: it stands in no line.
    pub fn rule(&self, key: &str) -> Option<&'static str> {
        let mut rules = self.rules();
        rules.find(|(_, known)| *known == key).map(|(rule, _)| rule)
    }
}
