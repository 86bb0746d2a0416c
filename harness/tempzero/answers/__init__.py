"""What an answer is: messages and calls as the API spells them, its parts, the names it came under, its flags."""
