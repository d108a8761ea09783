package llt

func f() { go f() }
