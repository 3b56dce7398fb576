use super::super::against::DRAWS;
use super::super::finding::{Basis, Direction, Objection};
use super::super::verdict::Verdict;
use super::*;
use crate::experiment::Estimate;
use crate::stats::Clusters;

fn varied(variant: Variant, difference: f64) -> Varied {
    let values = |mean: f64| vec![mean - 0.1, mean + 0.1];
    Varied {
        variant,
        arms: Ok(Arms {
            clean: values(0.0),
            class: values(difference),
            draws: vec![values(-0.01), values(0.01)],
            clusters: Clusters::alone(2),
        }),
        redrawn: None,
    }
}

fn primary(estimate: f64) -> Finding {
    Finding {
        evidence: Basis::Tested {
            estimate: Estimate {
                difference_to_baseline: Some(estimate),
                ..Estimate::default()
            },
            draws: 2,
        },
        ..Finding::missing("nats", Direction::Lower, DRAWS, String::new()).primary()
    }
}

fn objections(estimate: f64, all: &[Varied]) -> Vec<Objection> {
    let varied = (all, Against::Draws);
    let rows = with_variants(primary(estimate), varied, &StatsSettings::default()).unwrap();
    assert_eq!(rows.len(), 1 + all.len());
    assert!(rows[0].is_primary && rows[1..].iter().all(|row| !row.is_primary));
    rows[0].objections.clone()
}

#[test]
fn every_variant_must_have_the_sign_of_the_deciding_test() {
    let agreeing = [varied(Variant::Mean, -1.0), varied(Variant::NotFirst, -0.5)];
    assert!(objections(-2.0, &agreeing).is_empty());
    let other = [
        varied(Variant::Mean, -1.0),
        varied(Variant::Contribution, 0.5),
    ];
    let against = objections(-2.0, &other);
    assert_eq!(against[0].of, Verdict::Supported);
    assert_eq!(against[0].instead, Verdict::NotDistinguishable);
    assert!(
        against[0]
            .why
            .contains("beside random neurons that write as much")
    );
    // On the other side of the claim it takes away "contradicted".
    assert_eq!(objections(2.0, &agreeing)[0].of, Verdict::Contradicted);
}

#[test]
fn a_variant_that_changed_nothing_agrees_with_nothing() {
    let nothing = Varied {
        arms: Err("it changed no value".to_string()),
        ..varied(Variant::Resample, -1.0)
    };
    let all = [nothing];
    assert_eq!(objections(-2.0, &all).len(), 1);
    let varied = (&all[..], Against::Draws);
    let rows = with_variants(primary(-2.0), varied, &StatsSettings::default()).unwrap();
    assert_eq!(
        (&rows[1].evidence, &*rows[1].why),
        (&Basis::Missing, "it changed no value")
    );
}
