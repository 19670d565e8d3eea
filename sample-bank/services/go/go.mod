module heddle-bank/services

go 1.22
