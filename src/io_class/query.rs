//! What a person may type for a class: a class, a union of classes, or the later paper's words.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use strsim::levenshtein;

use super::{Class, ClassError};

/// A class, or a union of classes, to select neurons by.
///
/// The unions take all classes on one side, typical or not, conditional or not.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassQuery {
    /// One class alone.
    One(Class),
    /// All four classes with cos(w_in, w_out) above the threshold.
    AnyEnrichment,
    /// All four classes with cos(w_in, w_out) below minus the threshold.
    AnyDepletion,
    /// Both classes that write along ±w_gate and not along ±w_in.
    AnyProportionalChange,
}

impl ClassQuery {
    /// Everything that can be asked for: the classes in their order, then the unions.
    pub fn all() -> impl Iterator<Item = ClassQuery> {
        let unions = [
            Self::AnyEnrichment,
            Self::AnyDepletion,
            Self::AnyProportionalChange,
        ];
        Class::ALL.into_iter().map(Self::One).chain(unions)
    }

    /// The one name that files and tables use, whatever alias was typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::One(class) => class.as_str(),
            Self::AnyEnrichment => "any-enrichment",
            Self::AnyDepletion => "any-depletion",
            Self::AnyProportionalChange => "any-proportional-change",
        }
    }

    /// Whether neurons of this class are asked for.
    pub fn includes(self, class: Class) -> bool {
        use Class::*;
        match self {
            Self::One(one) => one == class,
            Self::AnyEnrichment => matches!(
                class,
                Enrichment
                    | AtypicalEnrichment
                    | ConditionalEnrichment
                    | AtypicalConditionalEnrichment
            ),
            Self::AnyDepletion => matches!(
                class,
                Depletion | AtypicalDepletion | ConditionalDepletion | AtypicalConditionalDepletion
            ),
            Self::AnyProportionalChange => {
                matches!(class, ProportionalChange | AtypicalProportionalChange)
            }
        }
    }
}

impl From<Class> for ClassQuery {
    fn from(class: Class) -> Self {
        ClassQuery::One(class)
    }
}

impl fmt::Display for ClassQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for ClassQuery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for ClassQuery {
    type Err = ClassError;

    /// Reads a class or a union; capitals do not matter, `_` and blanks count as `-`, and strengthening and
    /// weakening (the later paper's words) stand for enrichment and depletion anywhere in the name.
    ///
    /// # Errors
    /// [`ClassError::UnknownClass`] with all names, and the nearest one where it is near.
    fn from_str(name: &str) -> Result<Self, ClassError> {
        let canonical = canonical(name);
        Self::all()
            .find(|query| query.name() == canonical)
            .ok_or_else(|| unknown_class(name))
    }
}

fn canonical(name: &str) -> String {
    let kebab = name.trim().to_lowercase().replace(['_', ' '], "-");
    kebab
        .replace("strengthening", "enrichment")
        .replace("weakening", "depletion")
}

/// A canonical name in the later paper's words, which a misspelt alias is nearer to.
fn later_words(name: &str) -> String {
    name.replace("enrichment", "strengthening")
        .replace("depletion", "weakening")
}

/// The error for a name that is no class: it lists the accepted ones and suggests the nearest.
pub(super) fn unknown_class(name: &str) -> ClassError {
    let names: Vec<&str> = ClassQuery::all().map(ClassQuery::name).collect();
    let accepted = format!(
        "{} (strengthening and weakening are read as enrichment and depletion)",
        names.join(", ")
    );
    ClassError::UnknownClass {
        name: name.to_owned(),
        suggestion: nearest(name),
        accepted,
    }
}

/// The accepted name with the fewest edits, if a third of the letters at most would change.
fn nearest(name: &str) -> Option<&'static str> {
    let canonical = canonical(name);
    let distance =
        |name: &str| levenshtein(&canonical, name).min(levenshtein(&canonical, &later_words(name)));
    let distances = ClassQuery::all().map(|query| (distance(query.name()), query.name()));
    let (distance, nearest) = distances.min_by_key(|&(distance, _)| distance)?;
    (distance * 3 <= nearest.len()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> &'static str {
        name.parse::<ClassQuery>().unwrap().name()
    }

    #[test]
    fn every_name_reads_back() {
        assert_eq!(ClassQuery::all().count(), 14);
        for query in ClassQuery::all() {
            assert_eq!(query.name().parse::<ClassQuery>().unwrap(), query);
            assert_eq!(serde_json::to_value(query).unwrap(), query.name());
        }
    }

    #[test]
    fn the_later_papers_words_are_aliases() {
        assert_eq!(parsed("strengthening"), "enrichment");
        assert_eq!(parsed("conditional-weakening"), "conditional-depletion");
        assert_eq!(
            parsed("atypical-conditional-strengthening"),
            "atypical-conditional-enrichment"
        );
        assert_eq!(parsed("any-weakening"), "any-depletion");
        assert_eq!(parsed(" Conditional_Enrichment "), "conditional-enrichment");
        assert_eq!(parsed("proportional change"), "proportional-change");
    }

    #[test]
    fn unions_hold_the_classes_of_one_side() {
        let members = |query: ClassQuery| -> Vec<usize> {
            (0..11).filter(|&i| query.includes(Class::ALL[i])).collect()
        };
        assert_eq!(members(ClassQuery::AnyEnrichment), [0, 1, 2, 3]);
        assert_eq!(members(ClassQuery::AnyProportionalChange), [4, 5]);
        assert_eq!(members(ClassQuery::AnyDepletion), [7, 8, 9, 10]);
        assert_eq!(members(ClassQuery::One(Class::OrthogonalOutput)), [6]);
    }

    #[test]
    fn an_unknown_name_lists_all_and_suggests_the_nearest() {
        let message = "conditonal-enrichement"
            .parse::<ClassQuery>()
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("did you mean `conditional-enrichment`?"),
            "{message}"
        );
        assert!(
            ClassQuery::all().all(|query| message.contains(query.name())),
            "{message}"
        );
        let message = "any-weakning"
            .parse::<ClassQuery>()
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("`any-weakning`, did you mean"),
            "{message}"
        );
        let message = "xyz".parse::<ClassQuery>().unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
        assert!("".parse::<ClassQuery>().is_err());
        assert!("atypical-orthogonal-output".parse::<ClassQuery>().is_err());
    }
}
