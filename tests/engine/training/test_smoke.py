def test_train_eval_and_predict_run_from_end_to_end(run_cli, tiny, workplace):
    config = tiny()
    assert run_cli("train", config).code == 0
    result = run_cli("eval", "--json")
    assert result.code == 0, result.err
    result = run_cli("predict", workplace / "data" / "test" / "image")
    assert result.code == 0, result.err
