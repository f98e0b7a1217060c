def test_x(desk, palate):
    r = palate(*desk.rank("--json"))
    print(r)
    r = palate("train")
    print(r)
    assert 0
