use super::*;
use crate::prompts::Place;

fn neuron(layer: usize, index: usize) -> Neuron {
    Neuron { layer, index }
}

fn set(neurons: &[(usize, usize)]) -> NeuronSet {
    NeuronSet::from_neurons(4, 10, neurons.iter().map(|&(l, n)| neuron(l, n))).unwrap()
}

#[test]
fn a_name_reads_back_as_it_is_written() {
    assert_eq!("3.17".parse::<Neuron>().unwrap(), neuron(3, 17));
    assert_eq!("3.170".parse::<Neuron>().unwrap(), neuron(3, 170));
    assert_eq!(neuron(3, 17).to_string(), "3.17");
}

#[test]
fn anything_else_is_refused_with_an_example() {
    for text in [
        "", ".", "3", "3.", ".4", "3.4.5", "+3.4", "-3.4", "a.b", "3,4", "3. 4",
    ] {
        let message = text.parse::<Neuron>().unwrap_err().to_string();
        assert!(
            message.contains(&format!("`{text}`")) && message.contains("3.17"),
            "{message}"
        );
    }
    assert!("3.99999999999999999999999".parse::<Neuron>().is_err());
}

#[test]
fn a_set_is_sorted_and_unique() {
    let set = set(&[(2, 9), (0, 5), (2, 1), (2, 9)]);
    assert_eq!(set.layer(2), [1, 9]);
    assert!(set.layer(1).is_empty() && set.layer(99).is_empty());
    assert_eq!((set.len(), set.n_layers(), set.is_empty()), (3, 4, false));
    let names: Vec<String> = set.iter().map(|n| n.to_string()).collect();
    assert_eq!(names, ["0.5", "2.1", "2.9"]);
}

#[test]
fn membership() {
    let some = set(&[(2, 9), (3, 5)]);
    assert!(some.contains(neuron(2, 9)) && !some.contains(neuron(2, 8)));
    assert!(!some.contains(neuron(9, 9)) && !some.contains(neuron(2, usize::MAX)));
    assert!(NeuronSet::empty(4).is_empty());
}

#[test]
fn restricting_layers_keeps_the_depth() {
    let some = set(&[(0, 1), (2, 9), (3, 5)]);
    assert_eq!(some.restrict_layers(1..3), set(&[(2, 9)]));
    assert_eq!(some.restrict_layers(1..2), NeuronSet::empty(4));
    assert_eq!(some.restrict_layers(0..99), some);
}

#[test]
fn out_of_range_names_the_culprit_and_the_ranges() {
    for culprit in [neuron(4, 0), neuron(0, 10), neuron(0, 1 << 40)] {
        let error = NeuronSet::from_neurons(4, 10, [neuron(1, 1), culprit]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&culprit.to_string()), "{message}");
        assert!(
            message.contains("0 to 3") && message.contains("0 to 9"),
            "{message}"
        );
    }
}

#[test]
fn a_file_may_have_comments_and_blank_lines() {
    let text = "# enrichment, by hand\n\n3.7   # loud\r\n  0.2\n3.7\n";
    assert_eq!(
        NeuronSet::parse(text, "x", 4, 10).unwrap(),
        set(&[(0, 2), (3, 7)])
    );
}

#[test]
fn all_bad_lines_are_reported_at_once() {
    let error =
        NeuronSet::parse("1.1\nseven\n# fine\n4.0\n2.5 2.6\n", "set.txt", 4, 10).unwrap_err();
    let message = error.to_string();
    let NeuronError::BadLines { lines, .. } = error else {
        panic!("{message}")
    };
    assert_eq!(
        lines.iter().map(|bad| bad.place).collect::<Vec<_>>(),
        [2, 4, 5].map(Place::Line)
    );
    assert!(
        message.starts_with("set.txt: 3 lines cannot be used\n  line 2: `seven`"),
        "{message}"
    );
    assert!(
        message.contains("line 4: no neuron 4.0 in this model: layers go from 0 to 3"),
        "{message}"
    );
}

#[test]
fn a_long_list_of_bad_lines_is_cut_in_print_only() {
    let error = NeuronSet::parse(&"x\n".repeat(60), "set.txt", 4, 10).unwrap_err();
    assert!(error.to_string().ends_with("and 40 more"));
    assert!(matches!(error, NeuronError::BadLines { lines, .. } if lines.len() == 60));
}

#[test]
fn a_file_that_names_nothing_is_an_error() {
    let error = NeuronSet::parse("# nothing\n\n", "set.txt", 4, 10).unwrap_err();
    assert!(matches!(error, NeuronError::NoNeurons { .. }));
}

#[test]
fn files_are_read_and_missing_files_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.txt");
    std::fs::write(&path, "1.2\n").unwrap();
    assert_eq!(NeuronSet::read(&path, 4, 10).unwrap(), set(&[(1, 2)]));
    let missing = folder.path().join("missing.txt");
    let message = NeuronSet::read(&missing, 4, 10).unwrap_err().to_string();
    assert!(message.contains("missing.txt"), "{message}");
}
