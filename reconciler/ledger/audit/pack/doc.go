// Package pack writes the evidence of a period into one folder: a workbook and pages for people who aren't engineers, the
// rows and the hashed records for those who are, and how to verify both without countersign.
//
// It may import audit, ledger and schemas.
package pack
