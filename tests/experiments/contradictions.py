"""For every check of `protocol.yaml` a number by which its statement is false.

The numbers follow from what the statement says, not from the threshold: mostly what a game, model
or estimate has that does nothing of what the paper claims. So a threshold that no longer asks for
anything shows, check by check.
"""

#: Statement -> check -> a number that contradicts it.
CONTRADICTIONS: dict[str, dict[str, float]] = {
    # A tenth of D's range, of C(G) or of a divergence, and a descent that rises.
    "P1": {"error_on_the_grid": 0.1, "error_of_a_trained_discriminator": 0.1},
    "TH1": {
        "gap_between_value_and_criterion": 0.1,
        "distance_of_the_minimum_from_minus_log_4": 0.1,
        "smallest_excess_elsewhere": -0.1,
        "trained_discriminator_above_the_criterion": 0.1,
        "shortfall_of_a_trained_discriminator": 0.1,
    },
    "P2": {
        "divergence_at_the_end": 0.1,
        "largest_rise_of_a_step": 0.1,
        "largest_excess_over_a_chord": 0.1,
    },
    # One mode of 8 lost in most games and two in some, and what it costs.
    "A1": {
        "modes_with_one_step": 6.5,
        "divergence_with_one_step": 0.07,
        "modes_with_five_steps": 6.5,
        "divergence_beyond_that_of_five_steps": 0.05,
    },
    # Gradients of one size early and of unequal size at the end; p_g stays where it was.
    "G1": {
        "log_ratio_of_norms_early": 0.0,
        "distance_saved_early": -0.1,
        "log_ratio_of_norms_at_the_end": 2.0,
        "distance_at_the_end_saturating": 4.0,
        "distance_at_the_end_non_saturating": 4.0,
    },
    # A D that does not learn, a G that moves away.
    "F1": {
        "error_of_the_discriminator_at_its_optimum": 0.3,
        "rise_of_the_discriminator_on_images": -0.1,
        "log_ratio_of_distances_after_and_before_the_move": 0.1,
        "distance_of_the_discriminator_from_one_half": 0.3,
        "distance_to_the_data_at_the_end": 2.0,
    },
    # A fifth of the samples are copies; correlated as a slow chain.
    "F2": {
        "memorisation": 0.2,
        "size_of_the_correlation": 0.5,
        "correlation_of_chain_models_beyond_theirs": -0.1,
    },
    # No better than blends of images.
    "F3": {"sure_beyond_pixel_blends": 0.0, "sure_relative_to_samples": 0.5},
    # Nothing is lost by training G too much.
    "H1": {
        "modes_lost_on_the_ring_at_20": 0.0,
        "outputs_lost_on_the_ring_at_20": 0.0,
        "modes_lost_on_the_ring_at_100": 0.0,
        "outputs_lost_on_the_ring_at_100": 0.0,
        "modes_lost_on_the_grid_at_20": 0.0,
        "outputs_lost_on_the_grid_at_20": 0.0,
        "modes_lost_on_the_grid_at_100": 0.0,
        "outputs_lost_on_the_grid_at_100": 0.0,
        "modes_lost_later_at_20": 0.0,
        "outputs_lost_later_at_20": 0.0,
        "modes_lost_later_at_100": 0.0,
        "outputs_lost_later_at_100": 0.0,
    },
    "H1-images": {
        "classes_lost_at_20": 0.0,
        "spread_lost_at_20": 0.0,
        "classes_lost_at_100": 0.0,
        "spread_lost_at_100": 0.0,
    },
    # Samples as dependent as a chain's, at a chain's cost.
    "S1": {"effective_samples_per_image": 0.1, "doublings_to_the_cheapest_chain": 0.0},
    # Adversarial nets less sharp than chains, and on one half circle; noise that helps.
    "S2": {
        "log_ratio_of_distances_of_the_chain_that_mixes": -0.1,
        "log_ratio_of_distances_of_the_rbm": -0.1,
        "coverage_of_adversarial_nets": 0.5,
        "log_ratio_of_distances_of_the_noisiest_chain": -0.1,
        "crossings_gained_by_the_noisiest_chain": -0.1,
    },
    # An estimate without bias and without scatter.
    "E1": {
        "bias_in_784_dimensions": 0.0,
        "growth_of_the_bias_from_2_to_32_dimensions": 0.0,
        "growth_of_the_bias_from_32_to_784_dimensions": 0.0,
        "change_by_ten_times_the_samples": 0.0,
        "growth_of_the_spread_from_2_to_784_dimensions": -0.1,
        "spread_in_784_dimensions": 0.2,
    },
    # Classes by chance, one image a class.
    "X1": {"share_of_the_requested_class": 0.1, "spread_within_a_class": 0.0},
    # An E that ignores x.
    "X2": {
        "explained_variance_of_z": 0.0,
        "reconstruction_against_that_of_another_image": -0.1,
    },
    # A G that ignores the known pixels, and z.
    "X3": {
        "gain_on_random_masks": 0.0,
        "spread_on_random_masks": 0.0,
        "gain_on_halves": 0.0,
        "spread_on_halves": 0.0,
    },
    # Worse than raw pixels, and slower than the baseline.
    "X4": {"error_saved_by_features_of_d": -0.01},
    "X5": {"log_ratio_of_updates_by_coordination": -0.1, "log_ratio_of_updates_by_noise": -0.1},
    # As in S1, for every family.
    "T2": {
        "effective_samples_of_directed_models": 0.1,
        "effective_samples_of_adversarial_nets": 0.1,
        "doublings_to_undirected": 0.0,
        "doublings_to_generative_autoencoders": 0.0,
    },
    # A D at chance, and a gradient as large as ever.
    "L1": {"accuracy_at_convergence": 0.5, "log_ratio_of_norms_at_convergence": 0.0},
    # No gain by more images, and less than the others'.
    "L2": {"gain_of_adversarial_nets": 0.0, "gain_beyond_the_mean_of_the_others": -1.0},
    # More settings near the best than the other models have.
    "L3": {"trials_near_the_best_beyond_adversarial_nets": -0.1},
    "L3-mnist": {"trials_near_the_best_beyond_adversarial_nets": -0.1},
    # A gradient through choices; soft outputs not told from data, choices told; games as near.
    "L4": {
        "slope_through_the_choice": 0.1,
        "accuracy_on_soft_outputs": 0.5,
        "accuracy_on_hard_outputs": 1.0,
        "log_ratio_of_divergences_by_score_function": 0.0,
        "log_ratio_of_divergences_by_relaxation": 0.0,
    },
    # Measures that order all rows alike.
    "L5": {"rank_agreement_with_other_measures": 1.0},
    # Both measures order all pairs alike.
    "W1": {
        "reversal_of_adversarial_nets_and_vae": -1.0,
        "reversal_of_adversarial_nets_and_gmmn": -1.0,
        "reversal_of_vae_and_gmmn": -1.0,
    },
    # As fast from a quarter to a sixteenth as to a quarter, and faster than the others.
    "M1": {
        "slowdown_with_fixed_noise": 0.0,
        "slowdown_beyond_that_with_renewed_noise": -0.1,
        "slowdown_beyond_that_of_the_game": -0.1,
        "log_ratio_of_distances_at_the_end": -0.1,
    },
}
