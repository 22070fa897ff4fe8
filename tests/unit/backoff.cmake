pw_unit_test(test_message pw_sender)
