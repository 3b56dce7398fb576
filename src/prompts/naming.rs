//! Whether a continuation that a model writes names a fact's answer.

use super::prompt::Prompt;

/// How a sentence ends.
const ENDS: [char; 4] = ['.', '!', '?', '\n'];

/// Words that may stand before a name and begin with a capital at the beginning of a sentence.
const ARTICLES: [&str; 3] = ["The", "A", "An"];

impl Prompt {
    /// Whether `continuation` names the target or an alias before another capitalised word or the end of the sentence; `None`
    /// where more of it must be seen. `is_all`: nothing comes behind it.
    pub fn is_named_in(&self, continuation: &str, is_all: bool) -> Option<bool> {
        let answers = || std::iter::once(&self.target).chain(&self.aliases);
        let mut rest = continuation.trim_start();
        loop {
            if rest.is_empty() {
                return is_all.then_some(false);
            }
            for answer in answers() {
                match rest.strip_prefix(answer.as_str()) {
                    Some(behind) => match behind.chars().next() {
                        Some(next) if next.is_alphanumeric() => {}
                        Some(_) => return Some(true),
                        // "Rhine" may become "Rhineland".
                        None => return is_all.then_some(true),
                    },
                    None if !is_all && answer.starts_with(rest) => return None,
                    None => {}
                }
            }
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            if behind.is_empty() && !is_all {
                return None; // the word may go on
            }
            let is_capitalised = word.chars().next().is_some_and(char::is_uppercase);
            let ends = word.ends_with(ENDS) || behind.starts_with('\n');
            if ends || is_capitalised && !ARTICLES.contains(&word) {
                return Some(false);
            }
            rest = behind.trim_start();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rhine() -> Prompt {
        Prompt {
            aliases: vec!["Old Father Rhine".to_owned(), "rivière".to_owned()],
            ..Prompt::new("a", "Bonn lies on", "Bonn", "Rhine").unwrap()
        }
    }

    #[test]
    fn an_answer_may_stand_behind_small_words() {
        let named = |text: &str| rhine().is_named_in(text, true);
        for text in [
            " the Rhine.",
            "The Rhine",
            " the river Rhine, and",
            " Old Father Rhine!",
            " a rivière of",
        ] {
            assert_eq!(named(text), Some(true), "{text}");
        }
        for text in [
            " the Danube and the Rhine",
            " a river. Rhine",
            " the Rhineland",
            " its river\nRhine",
            " nothing",
            "",
        ] {
            assert_eq!(named(text), Some(false), "{text}");
        }
    }

    #[test]
    fn what_may_go_on_is_waited_for() {
        let named = |text: &str| rhine().is_named_in(text, false);
        for text in [
            "",
            " the",
            " the R",
            " the Rhine",
            " Old Father",
            " the Rhine".trim_end(),
        ] {
            assert_eq!(named(text), None, "{text}");
        }
        assert_eq!(named(" the Rhine,"), Some(true));
        assert_eq!(named(" the Danube is"), Some(false));
    }
}
