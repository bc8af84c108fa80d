def test_share_of_the_rate_rises_stays_and_falls_to_nothing() -> None:
    settings = replace(FLOW, updates=100, warmup=10, decay_fraction=0.2)
    shares = [averaged_training._share_of_rate(step, settings) for step in range(100)]
    assert shares[:10] == pytest.approx(np.arange(0.1, 1.05, 0.1))
    assert set(shares[10:81]) == {1.0}
    assert shares[80:] == pytest.approx(np.arange(1.0, 0.0, -0.05))
    at_once = replace(FLOW, updates=100, warmup=0, decay_fraction=0.0)
    assert {averaged_training._share_of_rate(step, at_once) for step in range(100)} == {1.0}


def test_result_is_the_average_of_the_weights(
    made: Made, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[State] = []

    def record(folder: Path, saved: Checkpoint) -> None:
        weights.append({name: value.clone() for name, value in saved.tensors.items() if "/" not in name})

    monkeypatch.setattr(averaged_training, "save_checkpoint", record)
    torch.manual_seed(SEED)
    average = {name: value.detach() for name, value in pretrain_flow._new_modules().named_parameters()}
    settings = replace(FLOW, save_every=1)
    result = train_flow(made.latents(), settings, LAW, SEED, work, quiet)
    assert len(weights) == 5
    for decay, step in zip((1 / 10, 2 / 11, 3 / 12, 0.3, 0.3), weights, strict=True):
        average = {name: decay * average[name] + (1 - decay) * step[name] for name in average}
    for name, value in result.named_parameters():
        torch.testing.assert_close(value.detach(), average[name], msg=name)


