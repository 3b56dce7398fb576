//! One prompt.

use super::place::SubjectPlace;

/// One question with its right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Unique in its set; names the prompt in every output file.
    pub id: String,
    /// The text before the answer, without white space at its end.
    pub prompt: String,
    /// What the fact is about; occurs in `prompt`.
    pub subject: String,
    /// Where in `prompt`.
    pub place: SubjectPlace,
    /// The right continuation, without the space that separates it from the prompt.
    pub target: String,
    /// The kind of fact ("capital", "P36"), where the file tells it.
    pub relation: Option<String>,
    /// The same fact in other words, where the file has it; `subject` occurs in it once, `target` does not.
    pub rephrased: Option<String>,
    /// What it is compared with, where the file has it or it was made ([`PromptSet::paired`](super::PromptSet::paired)).
    pub counterfactual: Option<Counterfactual>,
    /// Other answers that are right, too: who gives one of them knows the fact.
    pub aliases: Vec<String>,
}

/// What a fact is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterfactual {
    /// A question that `target` is the answer to; absent where only the other answer is known.
    pub question: Option<Question>,
    /// The other answer, without the space that separates it from the prompt.
    pub target: String,
}

/// A text that asks for something about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The text before the answer, without white space at its end.
    pub prompt: String,
    /// What it is about; occurs in `prompt`.
    pub subject: String,
    /// Where in `prompt`.
    pub place: SubjectPlace,
}

impl Prompt {
    /// A prompt whose subject is looked for; `None` where it does not occur.
    pub fn new(id: &str, prompt: &str, subject: &str, target: &str) -> Option<Self> {
        Some(Self {
            id: id.to_owned(),
            place: SubjectPlace::find(prompt, subject)?,
            prompt: prompt.to_owned(),
            subject: subject.to_owned(),
            target: target.to_owned(),
            relation: None,
            rephrased: None,
            counterfactual: None,
            aliases: Vec::new(),
        })
    }

    /// The prompt's text up to the subject's end.
    pub fn up_to_subject(&self) -> &str {
        &self.prompt[..self.place.span.end]
    }
}
