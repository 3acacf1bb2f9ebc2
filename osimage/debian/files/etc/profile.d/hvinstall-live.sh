# In the live system, a login on a console is told what to do next.
if [ -d /run/hvinstall/live ] && [ "$(id -u)" = 0 ] && [ -z "${SSH_CONNECTION:-}" ]; then
	cd /run/hvinstall/live
	hvinstall live || cat README.txt
fi
