//! What a network withstands: attacks, and what is proved against all.

use serde::Serialize;
use thalweg_convex_relu::Network;
use thalweg_convex_relu::attack::{Attack, Attacked};
use thalweg_data::read_text;

use super::job::Job;
use super::words::Robustness;
use super::{Data, Settings};
use crate::Result;
use crate::error::bail;

/// What attacks leave; on the test part, or on the training part if there is none.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Withstood {
    /// Share of right classes after one step along the gradient's signs.
    pub fgsm_accuracy: Option<f64>,
    /// The same after projected gradients.
    pub pgd_accuracy: Option<f64>,
    /// Share of the classes that no point of the boxes can change, proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certified_accuracy: Option<f64>,
    /// Root of the mean squared error of predicted numbers after one step along the gradient's signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fgsm_rmse: Option<f64>,
    /// The same after projected gradients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgd_rmse: Option<f64>,
    /// Loss on the training part at the worst points of the boxes, of adversarial training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_case_train_loss: Option<f64>,
}

/// ε by feature: of adversarial training, else of the attacks; 0 for the constant and for masked features.
pub(super) fn half_widths(settings: &Settings, data: &Data) -> Result<Option<Vec<f64>>> {
    let of_attack = settings.attack.iter().flatten().find_map(|a| match a {
        Robustness::Eps(eps) => Some(*eps),
        Robustness::Fgsm | Robustness::Pgd(_) => None,
    });
    let Some(eps) = settings.adversarial.or(of_attack) else { return Ok(None) };
    let mut all = vec![eps.0; data.train.d()];
    if data.constant() {
        all[data.train.d() - 1] = 0.0;
    }
    if let Some(file) = &settings.eps_mask {
        let text = read_text(file)?;
        for (line, word) in text.lines().enumerate().filter(|(_, w)| !w.trim().is_empty()) {
            match word.trim().parse::<usize>().ok().and_then(|j| all.get_mut(j)) {
                Some(entry) => *entry = 0.0,
                None => bail!("{}, line {}: {word:?} is no feature number", file.display(), line + 1),
            }
        }
    }
    Ok(Some(all))
}

impl Job<'_> {
    /// Attacks a network, if there are boxes.
    pub fn withstood(&self, network: &Network) -> Result<Withstood> {
        let mut left = Withstood::default();
        let Some(eps) = &self.eps else { return Ok(left) };
        let attack = Attack { eps: eps.clone(), loss: self.loss };
        let (x, y) = self.data.test.as_ref().map_or((&self.data.train, &self.data.y), |t| (&t.0, &t.1));
        let classes = self.data.classifies(self.loss);
        let accuracy = |attacked: Attacked| classes.then_some(attacked.accuracy);
        let rmse = |attacked: Attacked| (!classes).then(|| (2.0 * attacked.loss / y.len() as f64).sqrt());
        let usual = [Robustness::Fgsm, Robustness::Pgd(40)];
        for name in self.settings.attack.as_deref().unwrap_or(&usual) {
            match *name {
                Robustness::Fgsm => {
                    let attacked = attack.fgsm_all(network, x, y)?;
                    (left.fgsm_accuracy, left.fgsm_rmse) = (accuracy(attacked), rmse(attacked));
                }
                Robustness::Pgd(steps) => {
                    let attacked = attack.pgd_all(network, x, y, steps, self.settings.seed())?;
                    (left.pgd_accuracy, left.pgd_rmse) = (accuracy(attacked), rmse(attacked));
                }
                Robustness::Eps(_) => {}
            }
        }
        left.certified_accuracy = classes.then(|| attack.certified_accuracy(network, x, y)).transpose()?;
        if self.settings.adversarial.is_some() {
            let columns = self.data.y.chunks(self.data.train.n()).enumerate();
            let worst = |(o, y)| attack.worst_case(&network.of_output(o), &self.data.train, y);
            left.worst_case_train_loss = Some(columns.map(worst).sum::<Result<f64, _>>()?);
        }
        Ok(left)
    }
}
