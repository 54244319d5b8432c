//! How many receipts one core signs and verifies.

use std::time::{Duration, Instant};

use octet_receipts::{Receipt, SignedReceipt, UNIT_BYTES};

use super::{Failed, node};

/// For how long each is done.
const TIME: Duration = Duration::from_secs(2);

/// Receipts that are signed in a second, and verified.
pub fn rates() -> Result<(f64, f64), Failed> {
    let (payer, payee) = (node::key(100)?, node::key(101)?);
    let mut receipt = Receipt {
        payer: payer.public(),
        payee: payee.public(),
        scope: [0; 32],
        epoch: 1,
        bytes: 0,
        price: UNIT_BYTES,
        amount: 0,
    };
    let mut signed = vec![];
    let began = Instant::now();
    while began.elapsed() < TIME {
        receipt.bytes += 1;
        receipt.amount += 1;
        signed.push(SignedReceipt::sign(receipt, &[1; 32], &payer)?);
    }
    let signs = signed.len() as f64 / began.elapsed().as_secs_f64();
    let (began, mut count) = (Instant::now(), 0);
    for receipt in signed.iter().cycle() {
        receipt.verify(&[1; 32])?;
        count += 1;
        if began.elapsed() >= TIME {
            break;
        }
    }
    Ok((signs, f64::from(count) / began.elapsed().as_secs_f64()))
}
