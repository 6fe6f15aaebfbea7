from tests.vm import main

main()
