# In the live system, a login on a console is told what to do next.
if [ -d /run/hvinstall/live ] && [ "$(id -u)" = 0 ] && [ -z "${SSH_CONNECTION:-}" ]; then
	hvinstall live || cat /run/hvinstall/live/README.txt
fi
