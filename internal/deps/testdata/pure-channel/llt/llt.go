package llt

func f(c chan int) { c <- 1; select {} }
