//! Scores of rows where they are: a few numbers of each come back.

use candle_core::{DType, Result, Tensor};

use super::{Asked, Detail, RowScore};

/// The scores of `logits`, given those of the unedited run, both `[rows, vocab_size]`.
pub(in super::super) fn score(
    asked: &[Asked],
    logits: &Tensor,
    clean: Option<&Tensor>,
) -> Result<Vec<RowScore>> {
    let device = logits.device();
    let logits = logits.to_dtype(DType::F32)?;
    let ids = |of: fn(&Asked) -> u32| {
        let ids: Vec<u32> = asked.iter().map(of).collect();
        Tensor::from_vec(ids, (asked.len(), 1), device)
    };
    let token = ids(|asked| asked.token)?;
    let other = ids(|asked| asked.against.unwrap_or(asked.token))?;
    let (log_p, p) = distribution(&logits)?; // [rows, vocab_size] both
    let logit = logits.gather(&token, 1)?; // [rows, 1]
    let better = logits.broadcast_gt(&logit)?.to_dtype(DType::U32)?.sum(1)?;
    let entropy = (&p * &log_p)?.sum(1)?.neg()?;
    let diff = (&logit - logits.gather(&other, 1)?)?.squeeze(1)?;
    let kl = match clean {
        Some(clean) => {
            let (clean_log_p, clean_p) = distribution(&clean.to_dtype(DType::F32)?)?;
            (clean_p * (clean_log_p - &log_p)?)?.sum(1)?
        }
        None => entropy.zeros_like()?,
    };
    let logprob = log_p.gather(&token, 1)?.squeeze(1)?;
    let numbers = Tensor::stack(&[&logprob, &entropy, &kl, &diff], 1)?.to_vec2::<f32>()?;
    let places = Tensor::stack(&[&better, &logits.argmax(1)?], 1)?.to_vec2::<u32>()?;
    let rows = asked.iter().zip(numbers).zip(places);
    let scores = rows.map(|((asked, numbers), places)| {
        let number = |place: usize| f64::from(numbers[place]);
        let (has_entropy, is_whole) = (asked.of != Detail::Token, asked.of == Detail::Whole);
        RowScore {
            logprob: number(0),
            rank: places[0] + 1,
            logit_diff: asked.against.map(|_| number(3)),
            entropy_nats: if has_entropy { number(1) } else { f64::NAN },
            kl_nats: if is_whole { number(2) } else { 0.0 },
            top_token: if is_whole { places[1] } else { 0 },
        }
    });
    Ok(scores.collect())
}

/// Log-probabilities and probabilities, both `[rows, vocab_size]`.
fn distribution(logits: &Tensor) -> Result<(Tensor, Tensor)> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
    let exp = shifted.exp()?;
    let sum = exp.sum_keepdim(1)?; // [rows, 1]
    Ok((
        shifted.broadcast_sub(&sum.log()?)?,
        exp.broadcast_div(&sum)?,
    ))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::score_row;
    use super::*;

    #[test]
    fn rows_here_and_on_a_device_have_the_same_scores() {
        let (rows, vocab_size) = (5, 700);
        let values = |seed: usize| -> Vec<f32> {
            let value = |i: usize| ((i * (7 + seed) + 3) as f32 * 0.61).sin() * 6.0;
            (0..rows * vocab_size).map(value).collect()
        };
        let (edited, clean) = (values(0), values(2));
        let asked: Vec<Asked> = (0..rows as u32)
            .map(|row| Asked {
                token: 90 * row,
                against: (row != 1).then_some(3),
                of: Detail::Whole,
            })
            .collect();
        let tensor =
            |values: &[f32]| Tensor::from_slice(values, (rows, vocab_size), &Device::Cpu).unwrap();
        let found = score(&asked, &tensor(&edited), Some(&tensor(&clean))).unwrap();
        for (row, (found, asked)) in found.iter().zip(&asked).enumerate() {
            let of = row * vocab_size..(row + 1) * vocab_size;
            let expected = score_row(asked, &edited[of.clone()], Some(&clean[of]));
            let pairs = [
                (found.logprob, expected.logprob),
                (found.entropy_nats, expected.entropy_nats),
                (found.kl_nats, expected.kl_nats),
                (
                    found.logit_diff.unwrap_or(0.0),
                    expected.logit_diff.unwrap_or(0.0),
                ),
            ];
            let close = |(a, b): (f64, f64)| (a - b).abs() < 2e-5;
            assert!(pairs.into_iter().all(close), "{found:?} {expected:?}");
            assert_eq!(
                (found.rank, found.top_token, found.logit_diff.is_some()),
                (
                    expected.rank,
                    expected.top_token,
                    expected.logit_diff.is_some()
                )
            );
        }
    }
}
