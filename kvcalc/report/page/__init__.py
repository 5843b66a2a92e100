"""`kvcalc report`: one page that stands alone, computes and explains itself."""
