//! Pairs: a fact beside a question of the same kind that has another answer.
//!
//! The data may bring the other question (`counterfactual`), or another answer alone (CounterFact's `target_new`). For facts
//! with relations it can be made: another fact of the same relation and the same template (what stands before and behind the
//! subject is the same), with another answer. Which answers are others is the tokens' business: their first tokens must
//! differ.
//!
//! Source: Zhang and Nanda, arXiv 2309.16042, who replace the subject's tokens in place of adding noise.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::prompt::{Counterfactual, Prompt, Question};
use super::set::PromptSet;

/// Mixed into every seed; a change of the procedure gets another tag.
const SEED_TAG: &[u8] = b"gatelens pairs 1";

impl Prompt {
    /// What it asks.
    pub fn question(&self) -> Question {
        Question {
            prompt: self.prompt.clone(),
            subject: self.subject.clone(),
            place: self.place.clone(),
        }
    }

    /// Facts of one kind: the relation, and what stands before and behind the subject. None without a relation.
    fn kind(&self) -> Option<(&str, &str, &str)> {
        let (before, behind) = (
            &self.prompt[..self.place.span.start],
            &self.prompt[self.place.span.end..],
        );
        Some((self.relation.as_deref()?, before, behind))
    }
}

impl PromptSet {
    /// The same set, where each fact without a counterfactual has another one of its kind as its partner, if there is any
    /// whose answer differs (`differ`, by places in the set). Each fact is a partner once as far as that is possible; what is
    /// left takes one that is a partner already. By the facts and the seed alone.
    pub fn paired(mut self, seed: u64, differ: impl Fn(usize, usize) -> bool) -> Self {
        let mut kinds: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
        for (fact, prompt) in self.prompts.iter().enumerate() {
            if let Some(kind) = prompt.kind().filter(|_| prompt.counterfactual.is_none()) {
                kinds.entry(kind).or_default().push(fact);
            }
        }
        let hash = Sha256::new()
            .chain_update(SEED_TAG)
            .chain_update(seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
        let mut pairs = Vec::new();
        for mut facts in kinds.into_values() {
            facts.shuffle(&mut rng);
            pairs.extend(partners(&facts, &differ));
        }
        for (fact, partner) in pairs {
            let partner = &self.prompts[partner];
            self.prompts[fact].counterfactual = Some(Counterfactual {
                question: Some(partner.question()),
                target: partner.target.clone(),
            });
        }
        self
    }

    /// The places of the facts that have no other question to be patched from.
    pub fn without_question(&self) -> Vec<usize> {
        let has_one = |prompt: &Prompt| {
            let counterfactual = prompt.counterfactual.as_ref();
            counterfactual.is_some_and(|counterfactual| counterfactual.question.is_some())
        };
        let prompts = self.prompts.iter().enumerate();
        let without = prompts.filter(|(_, prompt)| !has_one(prompt));
        without.map(|(place, _)| place).collect()
    }
}

/// Pairs of facts of one kind, (fact, partner): as many as possible with partners of their own (Kuhn's augmenting paths in the
/// order of `facts`), the rest with the next one whose answer differs.
fn partners(facts: &[usize], differ: &impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let n = facts.len();
    // Who comes next is tried first, so that in a group of different answers the partners form a ring.
    let tried = |fact: usize| (1..n).map(move |step| (fact + step) % n);
    let fits = |fact: usize, partner: usize| differ(facts[fact], facts[partner]);
    let mut partner_of: Vec<Option<usize>> = vec![None; n]; // by partner, the fact that has it
    for fact in 0..n {
        let mut seen = vec![false; n];
        give_partner(fact, &mut partner_of, &mut seen, &tried, &fits);
    }
    let mut found: Vec<Option<usize>> = vec![None; n];
    for (partner, fact) in partner_of.iter().enumerate() {
        if let Some(fact) = fact {
            found[*fact] = Some(partner);
        }
    }
    let pairs = found.iter().enumerate().filter_map(|(fact, own)| {
        let partner = own.or_else(|| tried(fact).find(|partner| fits(fact, *partner)))?;
        Some((facts[fact], facts[partner]))
    });
    pairs.collect()
}

/// Gives a fact a partner, who may be taken from another fact that finds a new one.
fn give_partner<T: Iterator<Item = usize>>(
    fact: usize,
    taken_by: &mut [Option<usize>],
    seen: &mut [bool],
    tried: &impl Fn(usize) -> T,
    fits: &impl Fn(usize, usize) -> bool,
) -> bool {
    for partner in tried(fact) {
        if seen[partner] || !fits(fact, partner) {
            continue;
        }
        seen[partner] = true;
        let is_free = match taken_by[partner] {
            None => true,
            Some(other) => give_partner(other, taken_by, seen, tried, fits),
        };
        if is_free {
            taken_by[partner] = Some(fact);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(facts: &[(&str, &str, &str, &str)]) -> PromptSet {
        let prompts = facts
            .iter()
            .map(|(prompt, subject, target, relation)| Prompt {
                relation: (!relation.is_empty()).then(|| (*relation).to_owned()),
                ..Prompt::new(subject, prompt, subject, target).unwrap()
            });
        PromptSet {
            name: "test".to_owned(),
            prompts: prompts.collect(),
            sha256: String::new(),
        }
    }

    /// The subjects of the partners; the first letters of answers stand for their first tokens.
    fn partners_of(set: PromptSet, seed: u64) -> Vec<Option<String>> {
        let first: Vec<char> = set
            .prompts
            .iter()
            .map(|p| p.target.chars().next().unwrap())
            .collect();
        let paired = set.paired(seed, |a, b| first[a] != first[b]);
        let question = |prompt: &Prompt| Some(prompt.counterfactual.clone()?.question?.subject);
        paired.prompts.iter().map(question).collect()
    }

    #[test]
    fn a_partner_is_of_the_same_template_and_has_another_answer() {
        let facts = [
            ("Rome is in", "Rome", "Italy", "in"),
            ("Oslo is in", "Oslo", "Norway", "in"),
            ("The city of Bonn is in", "Bonn", "Germany", "in"),
            ("Lima is in", "Lima", "Peru", "at"),
            ("Kiel is in", "Kiel", "Germany", ""),
        ];
        let found = partners_of(set(&facts), 0);
        let found: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, [Some("Oslo"), Some("Rome"), None, None, None]);
        let paired = set(&facts).paired(0, |a, b| a != b);
        let rome = paired.prompts[0].counterfactual.as_ref().unwrap();
        assert_eq!(rome.target, "Norway");
        assert_eq!(rome.question.as_ref().unwrap().prompt, "Oslo is in");
        assert_eq!(paired.without_question(), [2, 3, 4]);
    }

    #[test]
    fn each_is_a_partner_once_where_that_is_possible() {
        // Three answers, two facts each: everybody can have a partner of their own.
        let names = ["Abo", "Bbo", "Cbo", "Dbo", "Ebo", "Fbo"];
        let prompts: Vec<String> = names.iter().map(|name| format!("{name} is in")).collect();
        let facts = |answers: [&'static str; 6]| -> PromptSet {
            let facts = (0..6).map(|i| (prompts[i].as_str(), names[i], answers[i], "in"));
            set(&facts.collect::<Vec<_>>())
        };
        for seed in 0..20 {
            let mut found = partners_of(facts(["x", "x", "y", "y", "z", "z"]), seed);
            found.sort();
            found.dedup();
            assert_eq!(found.len(), 6, "seed {seed}: {found:?}");
        }
        // Five of one answer share the one of the other.
        let found = partners_of(facts(["x", "x", "x", "x", "x", "y"]), 0);
        assert!(
            found[..5]
                .iter()
                .all(|partner| partner.as_deref() == Some("Fbo"))
        );
        assert!(found[5].is_some());
        let seeds: Vec<_> = (0..5)
            .map(|seed| partners_of(facts(["a", "b", "c", "d", "e", "f"]), seed))
            .collect();
        assert_eq!(
            seeds[0],
            partners_of(facts(["a", "b", "c", "d", "e", "f"]), 0)
        );
        assert!(seeds.iter().any(|other| *other != seeds[0]));
    }

    #[test]
    fn the_data_s_own_pair_stays() {
        let mut facts = set(&[
            ("Rome is in", "Rome", "Italy", "in"),
            ("Oslo is in", "Oslo", "Norway", "in"),
        ]);
        let own = Counterfactual {
            question: None,
            target: "Spain".to_owned(),
        };
        facts.prompts[0].counterfactual = Some(own.clone());
        let paired = facts.paired(0, |a, b| a != b);
        assert_eq!(paired.prompts[0].counterfactual, Some(own));
        assert_eq!(paired.prompts[1].counterfactual, None, "nobody is left");
    }
}
