//! Command lines of runs: as a shell takes them, and without what is not of the run itself.

/// What says where a run's files go, how its results are printed and how much of it is done; flags, and options with a
/// value.
const ABOUT: ([&str; 3], [&str; 2]) = (["--resume", "--force", "--json"], ["--out", "--shard"]);

/// The arguments of the run itself: without where its files go, how its results are printed and what of it was run.
pub fn own_arguments(arguments: &[String]) -> Vec<String> {
    let (flags, options) = ABOUT;
    without(arguments, &flags, &options)
}

/// The arguments without some flags, and without some options and their values.
pub fn without(arguments: &[String], flags: &[&str], options: &[&str]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if options.contains(&name) {
            if !word.contains('=') {
                words.next();
            }
        } else if !flags.contains(&word.as_str()) {
            kept.push(word.clone());
        }
    }
    kept
}

/// The command line that goes on with a run that was started with these arguments, and stopped.
pub fn resume_line(arguments: &[String]) -> String {
    if arguments.first().is_some_and(|command| command == "merge") {
        return shell_line(arguments, &[]); // begins anew, with what the shards hold
    }
    format!(
        "{} --resume",
        shell_line(arguments, &["--resume", "--force"])
    )
}

/// The arguments without some flags, as a shell takes them.
pub fn shell_line(arguments: &[String], without: &[&str]) -> String {
    let arguments = arguments.iter();
    let arguments = arguments.filter(|word| !without.contains(&word.as_str()));
    let words: Vec<String> = arguments.map(|word| shell_word(word)).collect();
    format!("gatelens {}", words.join(" "))
}

/// An argument as a shell takes it.
pub(super) fn shell_word(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_string()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted() {
        let words = [
            "ablate",
            "--prompts",
            "my facts.jsonl",
            "--force",
            "--resume",
            "--text",
            "it's",
        ];
        let words = words.map(str::to_string);
        let expected = r"gatelens ablate --prompts 'my facts.jsonl' --force --text 'it'\''s'";
        assert_eq!(shell_line(&words, &["--resume"]), expected);
        let expected = r"gatelens ablate --prompts 'my facts.jsonl' --text 'it'\''s' --resume";
        assert_eq!(resume_line(&words), expected);
    }

    #[test]
    fn what_is_not_of_the_run_itself_is_left_out() {
        let words = "sweep --out a --window 3 --json --shard=0/2 --out=b --resume --threads 2";
        let words: Vec<String> = words.split(' ').map(str::to_string).collect();
        let own = own_arguments(&words);
        assert_eq!(own.join(" "), "sweep --window 3 --threads 2");
        assert_eq!(without(&own, &[], &["--threads"]).len(), 3);
    }
}
