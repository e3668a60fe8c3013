import pytest

from segcli.core.addresses import is_address, refuse_addresses
from segcli.core.errors import ConfigError


@pytest.mark.parametrize("text", ["https://a.org/x.png", "s3://bucket/key", "file:///tmp/x", "HTTP://A", "git+ssh://a"])
def test_an_address_is_refused_in_the_place_of_a_file(text):
    assert is_address(text)
    for word in (text, f"--model={text}"):
        with pytest.raises(ConfigError) as caught:
            refuse_addresses(["predict", word])
        assert caught.value.message == f"`{text}` is an address, and segcli opens no connection"
        assert caught.value.hint == "download it and name the file or folder"


@pytest.mark.parametrize("text", ["a.png", "C://data/a.png", "/data/http/a.png", "a b://c", "http::a.zarr", "-"])
def test_names_of_files_pass_and_so_do_the_addresses_of_trackers(text):
    refuse_addresses(["train", text, f"--out={text}", "logging.trackers=[{type: mlflow, uri: http://localhost:5000}]"])


def test_an_address_in_a_config_is_told_with_its_line(run_cli, tiny, workplace):
    config = tiny()
    config.write_text(config.read_text().replace(str(workplace / "data"), "https://example.invalid/data"))
    result = run_cli("train", config)
    assert result.code == 2
    assert "dataset.paths.root: `https://example.invalid/data` is an address, and segcli opens no" in result.err
