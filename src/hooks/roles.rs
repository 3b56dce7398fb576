//! Which token of another prompt has the role of a token of this one.
//!
//! Where a token finds its values in the donor (both prompts counted with BOS), resampling:
//!
//! | token | donor's token |
//! |---|---|
//! | the first of all, of the subject or not | the first of all: its activations are unlike all others, and no other token takes them from a prompt of several |
//! | the last of the prompt | the last of the prompt |
//! | in the subject | in the subject, as far from the subject's end (the last from the last) |
//! | of the target, as it is fed in | the same place of the target; the last of the prompt where nothing is fed |
//! | any other | in the prompt, as far from its end |
//!
//! Distances are clipped: a subject or prompt that is shorter gives its foremost token after the first. A
//! donor without a subject (or whose subject is its first token alone) counts from the prompt's end.
//!
//! Patching differs in two things. Tokens between the first and the subject are counted from the prompt's beginning, since
//! a counterfactual has the same words there and a subject of another length. And nothing is clipped: what the donor lacks
//! (it would be in its subject, or the subject is shorter) has no value, and the edit leaves it alone.

use std::ops::Range;

use crate::tokens::Sequence;

/// The position of `donor` whose values `position` of `sequence` takes.
pub(super) fn donor_position(sequence: &Sequence, position: usize, donor: &Sequence) -> usize {
    let (last, donor_last) = (sequence.prompt_len - 1, donor.prompt_len - 1);
    let donor_subject = donor.subject.start.max(1)..donor.subject.end;
    if position == 0 {
        0
    } else if position > last {
        (donor_last + position - last).min(donor.ids.len() - 1)
    } else if position < last && sequence.subject.contains(&position) && !donor_subject.is_empty() {
        from_end(&donor_subject, sequence.subject.end - 1 - position)
    } else {
        from_end(&(1.min(donor_last)..donor.prompt_len), last - position)
    }
}

/// The position of a counterfactual whose values `position` of `sequence` takes, if it has that role.
pub(super) fn patch_position(
    sequence: &Sequence,
    position: usize,
    donor: &Sequence,
) -> Option<usize> {
    let (last, donor_last) = (sequence.prompt_len - 1, donor.prompt_len - 1);
    let subject = &donor.subject;
    if position == 0 {
        return Some(0);
    }
    if position >= last {
        let place = donor_last + position - last; // of the same target
        return Some(place).filter(|place| *place < donor.ids.len());
    }
    let place = if sequence.subject.contains(&position) {
        let place = subject.end.checked_sub(sequence.subject.end - position);
        place.filter(|place| subject.contains(place))
    } else if position < sequence.subject.start {
        Some(position).filter(|place| *place < subject.start)
    } else {
        let place = donor_last.checked_sub(last - position);
        place.filter(|place| *place >= subject.end)
    };
    place.filter(|place| *place > 0)
}

/// The position `distance` before the last one of a range that is not empty, or its first.
fn from_end(range: &Range<usize>, distance: usize) -> usize {
    (range.end - 1).saturating_sub(distance).max(range.start)
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    /// A prompt with its subject, and so many target tokens fed in.
    pub fn sequence(
        prompt: usize,
        prompt_len: usize,
        subject: Range<usize>,
        fed: usize,
    ) -> Sequence {
        let len = prompt_len + fed;
        Sequence {
            prompt,
            cluster: prompt,
            ids: vec![1; len],
            offsets: vec![None; len],
            prompt_len,
            subject,
            target: vec![1; fed + 1],
            against: None,
            aliases: Vec::new(),
            noise: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::sequence;
    use super::*;

    fn positions(sequence: &Sequence, donor: &Sequence) -> Vec<usize> {
        let positions = 0..sequence.ids.len();
        positions
            .map(|p| donor_position(sequence, p, donor))
            .collect()
    }

    #[test]
    fn roles_by_hand() {
        // BOS, The, capital, of, two tokens of subject, is; two target tokens fed in
        let long = sequence(0, 7, 4..6, 2);
        // BOS, three tokens of subject, speaks; nothing fed in
        let short = sequence(1, 5, 1..4, 0);
        assert_eq!(positions(&long, &short), [0, 1, 1, 1, 2, 3, 4, 4, 4]);
        assert_eq!(positions(&short, &long), [0, 4, 4, 5, 6]);
        assert_eq!(positions(&long, &long), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn subjects_at_the_ends_and_without_tokens() {
        let plain = sequence(0, 6, 2..4, 0);
        let (at_front, at_end) = (sequence(1, 5, 0..1, 0), sequence(2, 5, 3..5, 0));
        // a subject that is the first token alone gives nothing: from the prompt's end instead
        assert_eq!(positions(&plain, &at_front), [0, 1, 1, 2, 3, 4]);
        assert_eq!(positions(&at_front, &plain), [0, 2, 3, 4, 5]);
        // subjects that both begin their prompts: only the first token takes the first one's values
        let longer = sequence(5, 6, 0..3, 0);
        assert_eq!(
            positions(&longer, &sequence(6, 5, 0..2, 0)),
            [0, 1, 1, 2, 3, 4]
        );
        assert_eq!(positions(&at_front, &longer), [0, 2, 3, 4, 5]);
        // a subject's last token that is the prompt's last goes by that role, but gives by both
        assert_eq!(positions(&plain, &at_end), [0, 1, 3, 4, 3, 4]);
        assert_eq!(positions(&at_end, &plain), [0, 2, 3, 2, 5]);
        let (one, no_subject) = (sequence(3, 1, 0..1, 0), sequence(4, 3, 0..0, 0));
        assert_eq!(positions(&plain, &one), [0; 6]);
        assert_eq!(positions(&one, &plain), [0]);
        assert_eq!(positions(&plain, &no_subject), [0, 1, 1, 1, 1, 2]);
    }

    fn patched(sequence: &Sequence, donor: &Sequence) -> Vec<Option<usize>> {
        let positions = 0..sequence.ids.len();
        positions
            .map(|p| patch_position(sequence, p, donor))
            .collect()
    }

    #[test]
    fn counterfactuals_have_the_same_words_and_subjects_of_other_lengths() {
        // BOS, The, two tokens of subject, is, in; one target token fed in. The other's subject has three tokens, or one.
        let two = sequence(0, 6, 2..4, 1);
        let (three, one) = (sequence(0, 7, 2..5, 1), sequence(0, 5, 2..3, 1));
        let some = |places: &[usize]| places.iter().map(|p| Some(*p)).collect::<Vec<_>>();
        assert_eq!(patched(&two, &three), some(&[0, 1, 3, 4, 5, 6, 7]));
        let lacking = [Some(0), Some(1), None, Some(2), Some(3), Some(4), Some(5)];
        assert_eq!(patched(&two, &one), lacking);
        assert_eq!(patched(&two, &two), some(&[0, 1, 2, 3, 4, 5, 6]));
        // Other words before the subject, or behind it, have no counterpart in it.
        let later = sequence(0, 7, 3..5, 1);
        let lacking = [
            Some(0),
            Some(1),
            None,
            Some(2),
            Some(3),
            Some(4),
            Some(5),
            Some(6),
        ];
        assert_eq!(patched(&later, &two)[..2], lacking[..2]);
        assert_eq!(patched(&later, &two)[2], None);
        // Subjects that begin their prompts: the first token gives to the first alone.
        let (short, long) = (sequence(0, 3, 0..1, 0), sequence(0, 4, 0..2, 0));
        assert_eq!(patched(&short, &long), some(&[0, 2, 3]));
        assert_eq!(patched(&long, &short), [Some(0), None, Some(1), Some(2)]);
    }
}
