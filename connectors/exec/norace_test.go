//go:build !race

package exec_test

const raced = false
