/* Holds a pod's namespaces open and does nothing else.
 * Must not do any work: it sleeps until it is told to end. */
#include <signal.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }

int main(void) {
    signal(SIGTERM, end);
    signal(SIGINT, end);
    for (;;) pause();
}
