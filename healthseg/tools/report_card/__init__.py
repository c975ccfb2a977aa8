"""score_report_card: is the score any good, held against who churned?"""
